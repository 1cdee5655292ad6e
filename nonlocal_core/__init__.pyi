from nonlocal_core.chain import Run as Run
from nonlocal_core.chain import train as train
from nonlocal_core.prediction.recogniser import Recogniser as Recogniser
from nonlocal_core.prediction.recogniser import load as load

__version__: str
LATE: dict[str, str]
