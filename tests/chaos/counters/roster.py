"""All competing counters: the seven of AWS's post "Implement resource counters with Amazon DynamoDB", and Celery's."""

from tests.chaos.counters.atomic import Atomic
from tests.chaos.counters.base import Counter
from tests.chaos.counters.chord import Chord
from tests.chaos.counters.client_token import ClientToken
from tests.chaos.counters.collection import Collection
from tests.chaos.counters.history import History
from tests.chaos.counters.id_set import IdSet
from tests.chaos.counters.marker import Marker
from tests.chaos.counters.optimistic import Optimistic

COUNTERS: tuple[type[Counter], ...] = (Atomic, Optimistic, History, ClientToken, Marker, Collection, IdSet, Chord)
