"""What prompts tell about site, modality and the orientation of training pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.prompts.sites import TrainedOrientation, modality_of, site_of, trained_orientation

AMOS_CT = TrainedOrientation(down="L", right="A")
MSD_CT = TrainedOrientation(down="R", right="A")
RADIOLOGICAL = TrainedOrientation(down="P", right="L")


@pytest.mark.parametrize(
    ("prompt", "site"),
    [
        ("liver", "abdomen"),
        ("spleen", "abdomen"),
        ("kidneys", "abdomen"),
        ("liver in abdomen CT", "abdomen"),
        ("Visualization of the liver in abdominal CT imaging", "abdomen"),
        ("liver in liver CT", "liver"),
        ("liver tumor", "liver"),
        ("tumor in liver CT", "liver"),
        ("hepatic vessels", "liver"),
        ("pancreas", "abdomen"),
        ("pancreas tumor", "pancreas"),
        ("tumor in colon CT", "colon"),
        ("lungs", "lung"),
        ("nodule in chest CT", "lung"),
        ("aorta in chest CT", "lung"),
        ("uterus", "pelvis"),
        ("uterus in pelvis CT", "pelvis"),
        ("brain", "brain"),
        ("bones", "bone"),
        ("vertebra L1", "bone"),
        ("unicorn in abdominal CT", "abdomen"),
        ("tumor", None),
        ("nodule in thyroid ultrasound", None),
        ("unicorn", None),
        ("optic disc", None),
    ],
)
def test_site_is_the_one_named_or_that_of_the_organ(prompt, site):
    assert site_of(prompt) == site


@pytest.mark.parametrize(
    ("prompt", "modality"),
    [
        ("liver in abdomen CT", "CT"),
        ("liver in computed tomography", "CT"),
        ("Circle of Willis CTA", "CT"),
        ("edema in brain MRI-FLAIR", "MR"),
        ("prostate in magnetic resonance images", "MR"),
        ("discs in T2-weighted images", "MR"),
        ("tumor core in T1-Gd", "MR"),
        ("left lung in chest X-ray", "DX"),
        ("left heart ventricle in heart US", "US"),
        ("breast tumors in breast ultrasound", "US"),
        ("Lesion in whole body PET/CT", "PT"),
        ("edema in retina OCT", "OPT"),
        ("optic disc in retinal fundus", "OP"),
        ("melanoma in skin dermoscopy", "DMS"),
        ("polyp in colon endoscope", "ES"),
        ("neoplastic cells in breast pathology", "SM"),
        ("liver", None),
        ("show us the liver", None),
        ("vertebra T1", None),
        ("T2", None),
    ],
)
def test_modality_is_read_from_words(prompt, modality):
    assert modality_of(prompt) == modality


@pytest.mark.parametrize(
    ("prompt", "modality", "orientation"),
    [
        # abdomen organs of AMOS and COVID-19 lungs on CT
        ("liver", "CT", AMOS_CT),
        ("left kidney", "CT", AMOS_CT),
        ("postcava in abdomen CT", "CT", AMOS_CT),
        ("right adrenal gland", "CT", AMOS_CT),
        ("Visualization of the liver in abdominal CT imaging", "", AMOS_CT),
        ("pancreas in abdomen CT", "CT", AMOS_CT),
        ("COVID-19 infection in lung CT", "CT", AMOS_CT),
        # MSD on CT, abdomen organs of AMOS on MR
        ("liver in liver CT", "CT", MSD_CT),
        ("tumor in liver CT", "CT", MSD_CT),
        ("liver tumor", "CT", MSD_CT),
        ("hepatic vessels", "CT", MSD_CT),
        ("lung tumor", "CT", MSD_CT),
        ("tumor in colon CT", "CT", MSD_CT),
        ("pancreas tumor", "CT", MSD_CT),
        ("liver", "MR", MSD_CT),
        ("left kidney in abdomen MRI", "", MSD_CT),
        # seen as a radiologist sees them
        ("kidney tumor", "CT", RADIOLOGICAL),
        ("left kidney cyst", "CT", RADIOLOGICAL),
        ("nodule in lung CT", "CT", RADIOLOGICAL),
        ("lower-grade glioma in brain MRI-FLAIR", "MR", RADIOLOGICAL),
        ("prostate in prostate MRI", "MR", RADIOLOGICAL),
        ("peripheral zone", "MRI", RADIOLOGICAL),
        # unknown, or turned in a way of their own
        ("uterus in pelvis CT", "CT", None),
        ("left heart ventricle in heart MRI", "MR", None),
        ("enhancing tumor in brain MRI-T1-Gd", "MR", None),
        ("glioma in brain MRI-T1-Gd", "MR", None),
        ("tumor", "CT", None),
        ("lung", "CT", None),
        ("unicorn", "CT", None),
        ("nodule in thyroid CT", "CT", None),
        ("liver in chest CT", "CT", None),
        ("liver", "", None),
        ("liver", "US", None),
        ("lung in chest X-ray", "DX", None),
    ],
)
def test_orientation_of_training_pictures_is_as_observed_in_the_published_ones(prompt, modality, orientation):
    assert trained_orientation(prompt, modality) == orientation


@given(st.text(max_size=60), st.sampled_from(["", "CT", "MR", "MRI", "nonsense"]))
def test_any_text_is_taken_and_directions_are_of_two_different_body_axes(prompt, modality):
    site_of(prompt), modality_of(prompt)
    orientation = trained_orientation(prompt, modality)
    assert orientation is None or len({("RL", "AP", "SI")["RLAPSI".index(end) // 2] for end in (orientation.down, orientation.right)}) == 2
