from io import BytesIO

import torch
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_preamble
from pydicom.uid import UID, ExplicitVRLittleEndian

from cxrlt_cli.private_apis import cpu_computes_bf16, multiply_all, read_file_meta


def test_bf16_is_told_of_by_pytorch() -> None:
    computes = cpu_computes_bf16()
    assert not computes or "AVX512" in torch.backends.cpu.get_cpu_capability()


def test_tensors_are_multiplied_in_place() -> None:
    tensors = [torch.ones(2), torch.full((1, 3), 4.0)]
    multiply_all(tensors, 0.5)
    assert [each.flatten().tolist() for each in tensors] == [[0.5, 0.5], [2.0, 2.0, 2.0]]


def test_a_dicoms_meta_information_is_read_from_a_stream() -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset.PatientID = "p"
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    file.seek(0)
    read_preamble(file, force=False)
    assert read_file_meta(file).TransferSyntaxUID == ExplicitVRLittleEndian
    assert file.read(4) == b"\x10\x00\x20\x00", "it stands behind the meta information: at the patient's id"
