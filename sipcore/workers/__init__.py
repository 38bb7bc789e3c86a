"""Several processes on one SIP port: ``runsip --workers N``.

The parent (``crew``) opens the sockets, N for each address (``sockets``), and starts a process for each N. The kernel
deals what comes among them by its source, so that a phone always meets the same worker as long as its NAT leaves it its
port. What is in the wrong place all the same is handed over (``handover``) through a channel that each worker has
(``links``).

Every worker is a registrar with its own connection to the database, its own phones to keep alive and its own TCP
connections. All calls, texts and lamps live in the first one: so a transfer finds both of its calls, a limit is a
limit, and a lamp sees every call, with nothing to be kept equal in several places. One process sets up hundreds of
calls a second; it is registrations that need more."""

CALLS = 0
"""The worker that has all calls."""

MOST_WORKERS = 64
