"""The errors of the experiments room: each message is one line that says what is wrong and what to do."""


class ExperimentError(Exception):
    """Base of every error that an experiment raises on purpose."""


class DataError(ExperimentError):
    """A data set is missing, damaged, or cannot be downloaded."""


class SettingsError(ExperimentError, ValueError):
    """A setting of a run has an impossible value."""


class RunFolderError(ExperimentError):
    """A run folder is missing, foreign, damaged, or was made with other settings."""


class CheckpointError(ExperimentError):
    """A checkpoint is missing, truncated, foreign, of another architecture, or holds NaN or infinite weights."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is not what was written: truncated, overwritten, or changed in some place."""


class TrainingError(ExperimentError, ArithmeticError):
    """Training cannot go on: the loss is no longer finite."""


def one_line(error: Exception) -> str:
    """What an error of another library says, on one line of at most 160 letters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
