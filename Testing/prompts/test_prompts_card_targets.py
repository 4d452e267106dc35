"""Every target that the MedImageParse 3D model card (version 3) recommends is known, and recommended for the card's modalities."""

from __future__ import annotations

import pytest

from MedImageParseLib.prompts.catalogue import lookup

# The card's own list; "L/R" is left and right, "(…)" what the card adds to a name. GM is DICOM's word for electron and light-sheet microscopy.
CARD = {
    "CT": """adrenocortical carcinoma, kidney lesion L/R, kidney cyst L/R, liver tumor, lung lesion, pancreas tumor, head and neck cancer,
        colon cancer primaries, COVID-19 infection, whole-body lesion, lymph node, lung L/R, left upper lobe, left lower lobe, right upper lobe,
        right middle lobe, right lower lobe, trachea, airway tree, spleen, liver, gallbladder, stomach, pancreas, duodenum, small bowel, colon,
        esophagus, kidney L/R, adrenal gland L/R, bladder, prostate, uterus, aorta, aortic tree, superior vena cava, inferior vena cava,
        pulmonary vein, brachiocephalic trunk, subclavian artery L/R, carotid artery L/R, brachiocephalic vein L/R, left atrial appendage,
        portal and splenic vein, iliac artery L/R, iliac vein L/R, heart, submandibular gland L/R, parotid gland L/R, lacrimal gland L/R,
        thyroid, glottic larynx, supraglottic larynx, lips, buccal mucosa, oral cavity, cervical esophagus, cricopharyngeal inlet, arytenoid,
        anterior eyeball segment L/R, posterior eyeball segment L/R, optic chiasm, optic nerve L/R, cochlea L/R, pituitary, brainstem,
        spinal cord, brain, skull, Circle of Willis, sacrum, vertebrae C1, vertebrae C7, vertebrae T1, vertebrae T12, vertebrae L1,
        vertebrae L5, vertebrae S1, humerus L/R, scapula L/R, clavicle L/R, femur L/R, hip L/R, gluteus maximus L/R, gluteus medius L/R,
        gluteus minimus L/R, autochthonous back muscle L/R, iliopsoas L/R""",
    "MR": """spleen, liver, gallbladder, stomach, pancreas, duodenum, small bowel, colon, esophagus, bladder, prostate, uterus, cecum, appendix,
        ascending colon, transverse colon, descending colon, sigmoid colon, rectum, prostate transition zone, prostate lesion, left ventricle,
        right ventricle, myocardium, left atrium, right atrium, lung L/R, aorta, pulmonary artery, superior vena cava, inferior vena cava,
        portal and splenic vein, iliac artery L/R, iliac vein L/R, carotid artery L/R, jugular vein L/R, brain, brain tumor, stroke lesion,
        GTVp, GTVn, vestibular schwannoma, intrameatal vestibular schwannoma, extrameatal vestibular schwannoma, cochlea L/R,
        non-enhancing tumor core, non-enhancing FLAIR hyperintensity, enhancing tissue, resection cavity, white matter hyperintensities,
        Circle of Willis, sacrum, vertebrae, intervertebral discs, spinal canal, spinal cord, humerus L/R, femur L/R, hip L/R,
        gluteus maximus L/R, gluteus medius L/R, gluteus minimus L/R, autochthonous back muscle L/R, iliopsoas L/R""",
    "US": """left ventricle, myocardium, left atrium, thyroid, carotid artery, jugular vein, brain tumor, soleus, gastrocnemius medialis,
        gastrocnemius lateralis""",
    "PT": "whole-body lesion",
    "GM": """endolysosomes, mitochondria, nuclei, neuronal ultrastructure, synaptic clefts, axon, brain neural activity, Alzheimer's plaque,
        vessel""",
}
TARGETS = [
    (modality, f"{side} {name.removesuffix(' L/R')}".strip())
    for modality, names in CARD.items()
    for name in (" ".join(part.split()) for part in names.split(","))
    for side in (("left", "right") if name.endswith(" L/R") else ("",))
]

# The 2D model's card, sites aside; names as it was trained with.
CARD_2D = {
    "CT": """adrenal gland, left adrenal gland, right adrenal gland, aorta, bladder, duodenum, esophagus, gallbladder, kidney, left kidney,
        right kidney, kidney cyst, kidney tumor, liver, pancreas, postcava, spleen, stomach, tumor, colon tumor, liver tumor, lung tumor,
        COVID-19 infection, nodule, uterus""",
    "MR": """aorta, esophagus, gallbladder, kidney, left kidney, right kidney, liver, pancreas, postcava, spleen, stomach,
        anterior hippocampus, posterior hippocampus, left heart atrium, left heart ventricle, myocardium, right heart ventricle, prostate,
        edema, lower-grade glioma, tumor, tumor core, whole tumor, enhancing tumor, peripheral zone, transitional zone""",
    "DX": "COVID-19 infection, left lung, right lung, lung, lung opacity, viral pneumonia",
    "OPT": "edema", "OP": "optic cup, optic disc", "DMS": "lesion, melanoma", "ES": "neoplastic polyp, non-neoplastic polyp, polyp",
    "US": "breast tumors, left heart atrium, left heart ventricle, fetal head, public symphysis",
    "SM": "neoplastic cells, epithelial cells, glandular structure, inflammatory cells",
}  # fmt: skip
TARGETS_2D = [(modality, " ".join(name.split())) for modality, names in CARD_2D.items() for name in names.split(",")]


def test_the_cards_list_is_whole():
    assert len(TARGETS) == 213


@pytest.mark.parametrize(("modality", "name"), TARGETS, ids=[f"{modality}-{name}" for modality, name in TARGETS])
def test_a_recommended_target_is_known_and_recommended_for_its_modality(modality, name):
    target = lookup(name)
    assert target is not None and modality in target.modalities
    assert {"left", "right"}.intersection(name.split()) == {"left", "right"}.intersection(target.name.split())


@pytest.mark.parametrize(
    "pattern", ["{name} in {modality}", "Segmentation of the {name} in {modality}", "{modality} imaging of the {name}"]
)
def test_recommended_targets_are_known_in_the_published_patterns(pattern):
    words = {"CT": "CT", "MR": "MRI", "US": "ultrasound", "PT": "PET", "GM": "electron microscopy"}
    missed = [
        prompt
        for modality, name in TARGETS
        if (found := lookup(prompt := pattern.format(name=name, modality=words[modality]))) is None
        or not (found == lookup(name) or lookup(name).generic)
    ]
    assert missed == []


def test_targets_of_different_names_on_the_card_are_different_targets():
    same = {"aorta": "aortic tree"}  # which the card lists both
    found = {}
    for name in dict.fromkeys(name for _modality, name in TARGETS):
        found.setdefault(lookup(name).name, []).append(name)
    assert [names for names in found.values() if len(names) > 1] == [[name, other] for name, other in same.items()]
