"""The PutEvents limits, each in one place.

From botocore's service model `personalize-events/2018-03-22/service-2.json` unless another source is named.
Lengths count Unicode characters.
"""

from typing import Final

EVENTS_PER_REQUEST: Final = 10
"""`EventList` max."""
IDENTIFIER_LENGTH: Final = 256
"""`UserId`, `ItemId` and `StringType` (trackingId, sessionId, eventId, eventType) max."""
IMPRESSION_ITEMS: Final = 25
"""`Impression` max."""
PROPERTIES_LENGTH: Final = 1024
"""`EventPropertiesJSON` max, of the JSON text."""
RECOMMENDATION_ID_LENGTH: Final = 40
"""`RecommendationId` max."""
ATTRIBUTION_SOURCE_LENGTH: Final = 1024
"""`EventAttributionSource` max."""
ATTRIBUTION_SOURCE_PATTERN: Final = r"\A[\x20-\x7E]*[\x21-\x7E][\x20-\x7E]*\z"
r"""`EventAttributionSource` pattern: printable ASCII, not only spaces. `\z` stands for the model's `$`, which in Java
also accepts a last newline."""
EVENT_BYTES: Final = 10 * 1024
"""Amazon Personalize quotas: the maximum size of an event, 10 KB."""
RESERVED_PROPERTY_KEYS: Final = frozenset(
    {"userid", "sessionid", "eventtype", "timestamp", "recommendationid", "impression"}
)
"""Developer guide, "Recording events": reserved keywords, in lower case; they apply in any case of letters."""
CALLS_PER_SECOND: Final = 1000
"""Amazon Personalize quotas: PutEvents requests a second for a dataset group, which the live site shares."""
