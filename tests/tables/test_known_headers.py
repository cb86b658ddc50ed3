"""Label files of public sets are told by their headers."""

import pytest

from cxrlt_cli.tables.known_headers import CHEXPERT, HEADERS, kind_of


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Image Index|Finding Labels|Follow-up #|Patient ID|Patient Age|Patient Gender|View Position", "nih"),
        ("Image Index|Finding Label|Bbox [x|y|w|h]||", "nih"),
        ("id|Atelectasis|Effusion|Pleural_Thickening|No Finding|subject_id", "nih"),
        ("|".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *sorted(CHEXPERT))), "chexpert"),
        ("|".join(("Path", *sorted(CHEXPERT))), "chexpert"),
        ("path_to_image|path_to_dcm|frontal_lateral|ap_pa|deid_patient_id|split|report", "chexpert"),
        ("|".join(("", "DicomPath", "PngPath", "PatientID", "AccessionNumber", *sorted(CHEXPERT))), "chexpert"),
        ("dicom_id|subject_id|study_id|PerformedProcedureStepDescription|ViewPosition|Rows|Columns", "mimic"),
        ("dicom_id|study_id|subject_id|split", "mimic"),
        ("subject_id|study_id|dicom_id|path", "mimic"),
        ("|".join(("subject_id", "study_id", *sorted(CHEXPERT))), "mimic"),
        ("study_id|Airspace Opacity|Atelectasis|Support Devices", "mimic"),
        (
            "|".join(("dicom_id", "subject_id", "study_id", "ViewPosition", "path", *sorted(CHEXPERT), "Nodule")),
            "cxr-lt",
        ),
        ("dicom_id|subject_id|study_id|ViewPosition|ViewCodeSequence_CodeMeaning|fpath", "cxr-lt"),
        ("ImageID|StudyDate_DICOM|PatientID|Normal|aortic elongation|hypoexpansion|sternotomy", "cxr-lt"),
        ("|ImageID|ImageDir|StudyID|PatientID|Projection|Labels|labelCUIS", "padchest"),
        ("StudyID|ImageID|PatientID|PatientSex_DICOM|label|label_group|split", "padchest"),
        ("PatientID|ReportID|Report|Labels|Localizations|labelCUIS", "padchest"),
        ("image_id|rad_id|Aortic enlargement|Nodule/Mass|Other diseases|No finding", "vindr"),
        ("image_id|Aortic enlargement|Nodule/Mass|Other disease|No finding", "vindr"),
        ("image_id|rad_ID|No finding|Bronchitis|Bronchiolitis", "vindr"),
        ("image_id|class_name|class_id|rad_id|x_min|y_min|x_max|y_max", "vindr"),
        ("image_id|rad_id|class_name|x_min|y_min|x_max|y_max", "vindr"),
        ("image_name|annotation", "boxes"),
        ("file_name|syms|boxes", "boxes"),
        ("patientId|x|y|width|height|Target", "rsna"),
        ("patientId|class", "rsna"),
        ("ImageId| EncodedPixels", "siim"),
        ("SOPInstanceUID|StudyInstanceUID|Report|EncodedPixels|filename", "candid"),
        ("anon_SOPUID|annotation|mask_rle", "candid"),
        ("ImageID|PatientID|StudyID|ViewPosition|Split|PatientSex|PatientAge|Effusion|Mass", None),
        ("ImageID|PatientID|No Finding|Effusion", None),
        ("ImageID", None),
    ],
)
def test_a_set_is_known_by_its_header(header: str, kind: str | None) -> None:
    names = header.split("|")
    assert kind_of(names) == kind
    assert kind_of(names[::-1]) == kind, "whatever the order of its columns"


def test_no_signature_is_hidden_by_one_before_it() -> None:
    known = list(HEADERS)
    hidden = [later for place, later in enumerate(known) for before in known[:place] if before <= later]
    assert hidden == []
