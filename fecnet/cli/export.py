"""``fecnet export RUN``: a trained net as a bundle, in half precision, ONNX, ``torch.export`` or int8, verified."""

from __future__ import annotations

import argparse

_EPILOG = """formats:
  bundle   a folder: model.safetensors, meta.json and a model card, README.md
  half     the same with weights in float16, half the size; loads to float32
  onnx     one .onnx file in float32, dynamic batch size
  torch    one .pt2 file of torch.export, for torch.export.load
  int8     one .onnx file quantised to 8-bit integers, for CPUs, calibrated on training faces

examples:
  fecnet export result/run --format onnx                        result/run.onnx
  fecnet export result/run --format onnx --raw --output net.onnx   takes stored faces, uint8 (N, H, W, C)
  fecnet export result/run --format int8                        result/run-int8.onnx
  fecnet embed result/run.onnx photos                           an exported net is used like a run
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = (
        "Export a trained net. The file is opened again and compared with the net on the faces of the last "
        "split in DATA.REPORT_SPLITS; differences are printed and stored in it. In float32 a difference above 1e-5 is "
        "an error, and no file is left."
    )
    parser.add_argument("net", metavar="RUN", help="run or checkpoint folder, such as result/demo, or a shipped net")
    parser.add_argument(
        "--format", required=True, choices=("bundle", "half", "onnx", "torch", "int8"), help="see below"
    )
    parser.add_argument("--output", default="", metavar="PATH", help="file or folder to write (default beside the run)")
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="checkpoint of a run (default best)"
    )
    parser.add_argument(
        "--raw", action="store_true", help="include the preprocessing: the graph takes stored faces, uint8 (N, H, W, C)"
    )
    parser.add_argument(
        "--check", default="", metavar="DATASET", help="packed data set to verify on (default: the run's)"
    )
    parser.add_argument(
        "--calibrate",
        default="",
        metavar="DATASET",
        help="packed data set for int8 calibration (default: training faces of the run)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing PATH")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from fecnet.export.export import export_run

    export_run(
        options.net,
        options.format,
        output=options.output,
        checkpoint=options.checkpoint,
        raw=options.raw,
        check=options.check,
        calibrate=options.calibrate,
        overwrite=options.overwrite,
    )
    return 0
