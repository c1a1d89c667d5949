"""Assets of the Steam Audio plug-in for Unity: one material a file, to be dropped into a project."""

from service.acoustics.scene import AcousticScene
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.steam_audio import Mapping, coefficients

_SCRIPT_GUID = "1cb82a87a4954a947923856a12b49b38"  # of SteamAudioMaterial.cs, as in the plug-in's own assets
_KEYS = (
    *("lowFreqAbsorption", "midFreqAbsorption", "highFreqAbsorption", "scattering"),
    *("lowFreqTransmission", "midFreqTransmission", "highFreqTransmission"),
)


def assets(scene: AcousticScene, mapping: Mapping = "overlap") -> dict[str, bytes]:
    """File names to YAML as Unity writes it; a file is called as the material in it."""
    files = {}
    for name, item in zip(material_names(scene), scene.materials, strict=True):
        values = zip(_KEYS, coefficients(item, mapping).tolist(), strict=True)
        lines = [
            "%YAML 1.1",
            "%TAG !u! tag:unity3d.com,2011:",
            "--- !u!114 &11400000",
            "MonoBehaviour:",
            "  m_ObjectHideFlags: 0",
            "  m_CorrespondingSourceObject: {fileID: 0}",
            "  m_PrefabInstance: {fileID: 0}",
            "  m_PrefabAsset: {fileID: 0}",
            "  m_GameObject: {fileID: 0}",
            "  m_Enabled: 1",
            "  m_EditorHideFlags: 0",
            f"  m_Script: {{fileID: 11500000, guid: {_SCRIPT_GUID}, type: 3}}",
            f"  m_Name: {name}",
            "  m_EditorClassIdentifier: ",
            *(f"  {key}: {value:.7g}" for key, value in values),
        ]
        files[f"{name}.asset"] = ("\n".join(lines) + "\n").encode()
    return files
