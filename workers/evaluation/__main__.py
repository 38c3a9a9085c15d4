"""The process that `rekollect evaluate` becomes: settings are read here, the engine is opened, the figures are told."""

import json
import sys
import time

from app.assets import AssetError
from app.config import Settings, SettingsError
from workers.evaluation import report
from workers.evaluation.datasets import Dataset, read
from workers.evaluation.document import document
from workers.evaluation.engine import EngineRecognizer
from workers.evaluation.enrolment import Recognizer
from workers.evaluation.errors import EvaluationError
from workers.evaluation.evaluation import Evaluation, evaluate
from workers.evaluation.model import choose
from workers.evaluation.options import Options
from workers.evaluation.peers import open_peer
from workers.evaluation.summary import summary
from workers.vision.engine import FaceEngine
from workers.vision.sessions import ModelError

_SHOWN_EVERY_SECONDS = 10.0


class _Ticker:
    """Says now and then how far it is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown_at = time.monotonic()

    def count(self, name: str, done: int) -> None:
        now = time.monotonic()
        if now - self._shown_at >= _SHOWN_EVERY_SECONDS:
            self._shown_at = now
            sys.stderr.write(f"{name}: {done:,} of {self._total:,} pictures\n")


def main() -> int:
    """Evaluate; 1 for what the user can mend, said in a line."""
    try:
        options = Options.read(sys.argv[1])
        _tell(options, _evaluate(options, Settings.from_environment()))
    except (EvaluationError, AssetError, ModelError, SettingsError, OSError) as error:
        sys.stderr.write(f"rekollect: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _evaluate(options: Options, settings: Settings) -> Evaluation:
    if options.report is not None and not options.report.parent.is_dir():
        raise EvaluationError(f"{options.report.parent} is no folder for a report")
    dataset = read(options.place, all_pairs=options.all_pairs)
    galleries = _galleries(options, dataset)
    if not galleries:
        dataset = dataset.paired()
    version = choose(settings, options)
    if options.dimension is not None and not options.fit:
        sys.stderr.write("rekollect: similarities follow the curve of version 1.0, not fitted to this model (--fit)\n")
    engine = FaceEngine.load(settings, version)
    return evaluate(
        dataset,
        EngineRecognizer(engine, central=dataset.central),
        _peers(options, settings, dataset),
        curve=version.curve,
        fitted=options.fit,
        galleries=galleries,
        threads=options.threads,
        count=_Ticker(len(dataset.pictures)).count,
    )


def _galleries(options: Options, dataset: Dataset) -> list[int]:
    """Give the sizes of galleries: as asked for, otherwise half of the persons where pictures are labelled and not paired."""
    persons = len(set(dataset.persons))
    if options.gallery and not persons:
        raise EvaluationError("a gallery needs to know who is in each picture: give a folder or a CSV with path,person")
    return options.gallery or ([-(-persons // 2)] if dataset.pairs is None else [])


def _peers(options: Options, settings: Settings, dataset: Dataset) -> list[Recognizer]:
    found = []
    for name in options.peers:
        try:
            found.append(open_peer(name, settings, central=dataset.central))
        except EvaluationError as error:
            sys.stderr.write(f"rekollect: {name} is left out: {error}\n")
    return found


def _tell(options: Options, evaluation: Evaluation) -> None:
    if options.report is not None:
        report.write(evaluation, options.report)
    told = json.dumps(document(evaluation), indent=2, allow_nan=False) if options.json else summary(evaluation)
    sys.stdout.write(told + "\n")


if __name__ == "__main__":
    sys.exit(main())
