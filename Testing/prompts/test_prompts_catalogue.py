"""Known targets: what is recognized, under which codes, names and colors, and what is not."""

from __future__ import annotations

import colorsys
import os
import re
import subprocess
import sys
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.imaging.windows import CT_WINDOWS
from MedImageParseLib.prompts.catalogue import color_for, lookup, segment_names, targets
from MedImageParseLib.prompts.vocabulary import bag, split_words

# Prompts as a person types them, after the model card's own table of recommended 2D targets (not after the catalogue).
TYPICAL = """
adrenal gland | left adrenal gland | right adrenal gland | aorta | bladder | duodenum | esophagus | gallbladder | kidney
left kidney | right kidney | kidney cyst | kidney tumor | liver | pancreas | postcava | spleen | stomach | tumor in colon CT
liver in liver CT | tumor in liver CT | COVID-19 infection in lung CT | nodule in lung CT | uterus in pelvis CT
liver in abdomen MRI | postcava in abdomen MRI | anterior hippocampus in brain MRI | posterior hippocampus in brain MRI
left heart atrium in heart MRI | left heart ventricle in heart MRI | myocardium in heart MRI | right heart ventricle in heart MRI
prostate in prostate MRI | edema in brain MRI-FLAIR | lower-grade glioma in brain MRI-FLAIR | whole tumor in brain MRI-FLAIR
enhancing tumor in brain MRI-T1-Gd | tumor core in brain MRI-T1-Gd | peripheral zone in prostate MRI-T2
transitional zone in prostate MRI-T2 | left lung in chest X-ray | lung opacity in chest X-ray | viral pneumonia in chest X-ray
edema in retina OCT | optic cup in retinal fundus | optic disc in retinal fundus | melanoma in skin dermoscopy
lesion in skin dermoscopy | neoplastic polyp in colon endoscope | non-neoplastic polyp in colon endoscope
breast tumors in breast ultrasound | fetal head in transperineal ultrasound | public symphysis in transperineal ultrasound
neoplastic cells in breast pathology
"""
TYPICAL_PROMPTS = [prompt.strip() for prompt in re.split(r"[|\n]", TYPICAL) if prompt.strip()]

# The 3D model card's own sample request.
CARD_3D = {
    "CT imaging of the spleen within the abdomen": "spleen",
    "Presence of the right kidney detected in abdominal CT images": "right kidney",
    "Abdominal CT showing the left kidney": "left kidney",
    "CT scan of the gallbladder in the abdominal region": "gallbladder",
    "CT scan of the esophagus in the abdominal region": "esophagus",
    "Visualization of the liver in abdominal CT imaging": "liver",
    "CT imaging of the stomach in the abdomen": "stomach",
    "Abdominal CT showing aortic structures": "aorta",
    "Inferior vena cava in abdominal CT": "inferior vena cava",
    "CT scan of the pancreas in the abdominal region": "pancreas",
    "CT imaging of the right adrenal gland in the abdomen": "right adrenal gland",
    "CT imaging of the left adrenal gland in the abdomen": "left adrenal gland",
    "Visualization of the duodenum in abdominal CT imaging": "duodenum",
    "Bladder observed in abdominal CT scans": "bladder",
    "CT scan of the prostate/uterus in the abdominal region": "prostate or uterus",
}

# Class names of whole-body CT segmentation as TotalSegmentator writes them, sides and numbers filled in below.
WHOLE_BODY = [
    "spleen",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_vein_and_splenic_vein",
    "pancreas",
    "lung_middle_lobe_right",
    "esophagus",
    "trachea",
    "heart_myocardium",
    "pulmonary_artery",
    "brain",
    "small_bowel",
    "duodenum",
    "colon",
    "sacrum",
    "face",
    "urinary_bladder",
    "prostate",
    "heart",
    "pulmonary_vein",
    "brachiocephalic_trunk",
    "superior_vena_cava",
    "spinal_cord",
    "skull",
    "sternum",
    "costal_cartilages",
    "thyroid_gland",
]
SIDED = [
    "kidney",
    "adrenal_gland",
    "lung_upper_lobe",
    "lung_lower_lobe",
    "heart_atrium",
    "heart_ventricle",
    "iliac_artery",
    "iliac_vena",
    "humerus",
    "scapula",
    "clavicula",
    "femur",
    "hip",
    "gluteus_maximus",
    "gluteus_medius",
    "gluteus_minimus",
    "autochthon",
    "iliopsoas",
    "subclavian_artery",
    "common_carotid_artery",
    "brachiocephalic_vein",
    "kidney_cyst",
    "lung",
]
WHOLE_BODY += [f"{name}_{side}" for name in SIDED for side in ("left", "right")] + ["atrial_appendage_left"]
WHOLE_BODY += [f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13)]
WHOLE_BODY += [f"vertebrae_{key}{n}" for key, count in (("C", 7), ("T", 12), ("L", 5), ("S", 1)) for n in range(1, count + 1)]


def all_codes():
    return sorted({code for target in targets() for code in target.codes.values()})


def has_check_digit(value: str) -> bool:
    """Verhoeff's check digit, which ends every SNOMED CT identifier; built from the dihedral group D5, as he published it."""

    def multiply(a, b):
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
        return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5

    turn = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    total = 0
    for place, digit in enumerate(map(int, reversed(value))):
        for _ in range(place % 8):
            digit = turn[digit]
        total = multiply(total, digit)
    return total == 0


def test_at_least_fifty_of_fifty_four_typical_prompts_have_a_code_and_a_color():
    assert len(TYPICAL_PROMPTS) == 54
    missed = [prompt for prompt in TYPICAL_PROMPTS if lookup(prompt) is None]
    assert len(missed) <= 4, missed


@pytest.mark.parametrize(("sentence", "name"), CARD_3D.items())
def test_sentences_of_the_3d_model_card_are_understood(sentence, name):
    assert lookup(sentence).name == name


def test_class_names_of_whole_body_ct_are_all_known_and_all_different():
    found = {name: lookup(name) for name in WHOLE_BODY}
    assert [name for name, target in found.items() if target is None] == []
    assert len({target.name for target in found.values()}) == len(WHOLE_BODY) >= 120


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("LIVER", "liver"),
        ("kidney_left", "left kidney"),
        ("Kidney, left", "left kidney"),
        ("left-sided kidney", "left kidney"),
        ("kidney (L)", "left kidney"),
        ("the left kidneys", "left kidney"),
        ("left renal cyst", "left kidney cyst"),
        ("cyst in left kidney", "left kidney cyst"),
        ("left and right lungs", "lung"),
        ("oesophagus", "esophagus"),
        ("hepatic tumour", "liver tumor"),
        ("tumour in colon CT", "colon tumor"),
        ("tumor in abdomen CT", "tumor"),
        ("edema in OCT", "retinal edema"),
        ("edema in brain MRI-FLAIR", "brain edema"),
        ("left lung upper lobe", "left upper lobe of lung"),
        ("upper lobe of the left lung", "left upper lobe of lung"),
        ("LUL", "left upper lobe of lung"),
        ("7th rib on the left", "left rib 7"),
        ("seventh left rib", "left rib 7"),
        ("L1", "vertebra L1"),
        ("vertebra T1 in CT", "vertebra T1"),
        ("Couinaud segment IV", "liver segment 4"),
        ("IVC", "inferior vena cava"),
        ("liver CT", "liver"),
        ("Lesion in whole body PET", "lesion"),
        ("Segmentation of the lungs", "lung"),
        ("airways", "airways"),
        ("soft tissues", "soft tissue"),
        ("bones", "bone"),
        ("body", "body"),
        ("skin", "skin"),
        ("fat", "fat"),
    ],
)
def test_one_target_is_known_by_many_wordings(prompt, name):
    assert lookup(prompt).name == name


@pytest.mark.parametrize(
    "prompt",
    ["", "unicorn", "kidney stone", "liver without tumor", "no liver", "liver and spleen", "healthy liver tissue", "section of the liver",
     "CT", "the", "vertebra L9", "vertebra C8", "rib 13", "left liver", "spleen on the right", "left lung in right chest CT", "left",
     "ventricle", "liver in the moonlight", "in abdomen CT", "show us"],
)  # fmt: skip
def test_what_is_not_known_for_certain_matches_nothing(prompt):
    assert lookup(prompt) is None


@pytest.mark.parametrize(
    ("prompt", "other"),
    [("liver tumor", "liver"), ("kidney cyst", "kidney"), ("left lung upper lobe", "left lung"), ("gallbladder", "bladder"),
     ("aortic valve", "aorta"), ("splenic vein", "spleen"), ("lung nodule", "lung"), ("optic cup", "optic disc"),
     ("vertebra T1", "vertebra T11"), ("rib left 1", "rib right 1")],
)  # fmt: skip
def test_a_target_is_not_mistaken_for_one_whose_name_it_resembles(prompt, other):
    one, two = lookup(prompt), lookup(other)
    assert one and two and one.name != two.name and one.codes != two.codes


@given(st.text(max_size=60))
def test_lookup_takes_any_text(prompt):
    target = lookup(prompt)
    assert target is None or target in targets()


PATTERNS = ["{}", "  {} ", "the {}", "{} in abdomen CT", "Segmentation of the {}", "{} observed in MRI scans"]


@given(st.sampled_from(targets()), st.sampled_from(PATTERNS))
def test_every_target_is_found_by_its_name_bare_and_in_every_pattern(target, pattern):
    found = lookup(pattern.format(target.name))
    assert found == target or (target.generic and found is not None)


def test_every_alias_belongs_to_one_target_only():
    owners = defaultdict(set)
    for target in targets():
        for name in (target.name, *target.aliases):
            owners[bag(split_words(name))].add(target.name)
    assert {words: names for words, names in owners.items() if len(names) > 1} == {}
    assert () not in owners


def test_no_two_targets_share_all_their_codes_unless_marked_as_broader():
    owners = defaultdict(list)
    for target in targets():
        if not target.broader:
            owners[tuple(sorted(target.codes.items()))].append(target.name)
    assert [names for names in owners.values() if len(names) > 1] == []


@pytest.mark.parametrize("code", all_codes(), ids=lambda code: "-".join(code[:2]))
def test_every_code_is_well_formed(code):
    scheme, value, meaning = code
    assert 0 < len(meaning) <= 64 and meaning == meaning.strip()  # the length of a DICOM LO
    assert 0 < len(value) <= 16  # of a DICOM SH
    assert not re.search(r"[\^~|\\&]", scheme + value + meaning)
    if scheme == "SCT":
        assert value.isdigit() and has_check_digit(value)
    else:
        assert re.fullmatch({"NCIt": r"C\d+", "DCM": r"1\d{5}", "MDC": r"7:\d{3}"}[scheme], value)


def test_check_digits_of_the_oracle_are_right():
    assert has_check_digit("123037004") and not has_check_digit("123037005") and not has_check_digit("213037004")


def test_codes_that_dicom_lists_mean_there_what_they_mean_here():
    concepts = pytest.importorskip("pydicom.sr._concepts_dict", reason="this pydicom has no table of DICOM's codes").concepts
    meanings = defaultdict(str)
    for scheme in ("SCT", "NCIt", "DCM", "MDC"):
        for listed in concepts[scheme].values():
            for value, (meaning, _) in listed.items():
                meanings[scheme, value] += " " + meaning.casefold()
    known = [code for code in all_codes() if code[:2] in meanings]
    assert len(known) > 120
    # the first letters are enough to tell organs apart and leave room for "Aortic structure"; these are spelled quite otherwise there
    synonyms = {"248300009": "body fat", "108369006": "tumor", "110726009": "trachea", "12691009": "brachiocephalic"}

    def agrees(code):
        there = meanings[code[:2]]
        return any(word[:4] in there for word in code[2].casefold().split()) or synonyms.get(code[1], "?") in there

    assert [code for code in known if not agrees(code)] == []


def test_sides_are_coded_as_laterality_of_the_organ_or_of_the_region_of_a_finding():
    assert lookup("right kidney").modifier == ("SCT", "24028007", "Right")
    cyst = lookup("left kidney cyst")
    assert (cyst.modifier, cyst.region[2], cyst.region_modifier) == (None, "Kidney", ("SCT", "7771000", "Left"))


def test_every_target_names_a_window_site_that_exists_and_containers_that_exist():
    bases = {target.base for target in targets()}
    for target in targets():
        assert target.site is None or target.site in CT_WINDOWS, target.name
        assert set(target.inside) <= bases - {target.base}, target.name


def test_terminology_entry_is_what_slicer_reads_back():
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    from slicer import vtkSlicerTerminologiesModuleLogic, vtkSlicerTerminologyEntry

    assert slicer
    entry, logic = vtkSlicerTerminologyEntry(), vtkSlicerTerminologiesModuleLogic()
    assert logic.DeserializeTerminologyEntry(lookup("left kidney cyst").terminology_entry(), entry)
    assert entry.GetCategoryObject().GetCodeValue() == "49755003"
    assert entry.GetTypeObject().GetCodeMeaning() == "Cyst"
    assert entry.GetRegionObject().GetCodeValue() == "64033007"
    assert entry.GetRegionModifierObject().GetCodeMeaning() == "Left"


def test_colors_are_the_same_in_every_process():
    prompts = ["liver", "unicorn", "Einhorn", "left kidney", "kidney stone", "ß"]
    script = """import sys
sys.path.insert(0, sys.argv[1])
from MedImageParseLib.prompts.catalogue import color_for
print([color_for(prompt) for prompt in sys.argv[2:]])"""
    library = str(next(path for path in sys.path if path.endswith("MedImageParse")))
    for seed in ("1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"}
        printed = subprocess.run(
            [sys.executable, "-c", script, library, *prompts], env=environment, capture_output=True, text=True, encoding="utf-8", check=True
        ).stdout
        assert printed.strip() == str([color_for(prompt) for prompt in prompts])


def test_known_targets_get_slicers_color_whatever_the_wording():
    assert color_for("liver") == color_for("Visualization of the liver in abdominal CT imaging") == (221 / 255, 130 / 255, 101 / 255)


def test_unknown_prompts_get_saturated_colors_that_differ():
    prompts = [f"thing {number}" for number in range(40)]
    colors = [color_for(prompt) for prompt in prompts]
    assert len(set(colors)) == len(prompts)
    for color in colors:
        _, saturation, value = colorsys.rgb_to_hsv(*color)
        assert saturation >= 0.65 and value >= 0.7
    assert color_for("  UNICORN ") == color_for("unicorn")


@given(st.lists(st.one_of(st.sampled_from(TYPICAL_PROMPTS + list(CARD_3D)), st.text(min_size=1, max_size=8)), max_size=8))
def test_segment_names_are_always_unique_and_one_a_prompt(prompts):
    names = segment_names(prompts)
    assert len(names) == len(prompts) == len({name.casefold() for name in names})


def test_segments_are_named_as_typed_or_after_the_target_of_a_sentence():
    typed = ["Liver", "unicorn", "kidney_left", "CT imaging of the spleen within the abdomen", "tumor in colon CT"]
    assert segment_names(typed) == ["Liver", "unicorn", "kidney_left", "spleen", "colon tumor"]


def test_prompts_for_the_same_target_keep_their_own_words():
    typed = ["liver in abdomen CT", "Visualization of the liver in abdominal CT imaging", "spleen in CT"]
    assert segment_names(typed) == [*typed[:2], "spleen"]
    assert segment_names(["liver", "liver in abdomen CT"]) == ["liver", "liver in abdomen CT"]
