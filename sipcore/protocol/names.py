"""The words of SIP: methods, reason phrases, header names in their full, short and lower-case spellings."""

KNOWN_METHODS = frozenset(
    "REGISTER INVITE ACK BYE CANCEL OPTIONS INFO MESSAGE NOTIFY SUBSCRIBE REFER PRACK UPDATE PUBLISH".split()  # noqa: SIM905
)

REASONS: dict[int, str] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    430: "Flow Failed",
    439: "First Hop Lacks Outbound Support",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}

# RFC 3261 7.3.3 and later RFCs: the short forms
_COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
}
_NAMES = (
    """
    Accept Accept-Encoding Accept-Language Alert-Info Allow Authentication-Info Authorization CSeq Call-Info
    Content-Disposition Content-Language Date Diversion Error-Info Expires Flow-Timer Geolocation History-Info
    Identity In-Reply-To Join MIME-Version Max-Breadth Max-Forwards Min-Expires Min-SE Organization
    P-Access-Network-Info P-Asserted-Identity P-Preferred-Identity Path Priority Privacy Proxy-Authenticate
    Proxy-Authorization Proxy-Require RAck RSeq Reason Record-Route Remote-Party-ID Replaces Reply-To Require
    Retry-After Route SIP-ETag SIP-If-Match Server Service-Route Session-ID Subscription-State Target-Dialog
    Timestamp Unsupported User-Agent WWW-Authenticate Warning
""".split()
    + list(_COMPACT.values())
)  # noqa: SIM905 - words read best as words
LOWER = {name.lower(): name for name in _NAMES} | _COMPACT
CANONICAL = {name: name for name in _NAMES} | LOWER | {short.upper(): name for short, name in _COMPACT.items()}

# RFC 3261 7.3.1: without a comma list in their grammar, these stand once
SINGLE = frozenset(
    """
    From To Call-ID CSeq Max-Forwards Content-Length Content-Type Expires Min-Expires User-Agent Subject Event
    Refer-To Date MIME-Version Content-Disposition Session-Expires Min-SE Replaces Referred-By RAck RSeq
    """.split()  # noqa: SIM905
)
