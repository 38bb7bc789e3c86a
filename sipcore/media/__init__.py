"""RTP: the client of the ``ng`` media protocol, and the relay process of our own that speaks it.

    bencode   the encoding of the protocol: strict and bounded
    figures   what came from whom: packets, loss, jitter, silence
    ng        messages of the protocol, as rtpengine defines them
    pool      NgPool: the client, for our relays and for real rtpengines alike
    processes starts the relay processes, watches them and starts them again
    relay     the relay process: one loop over all sockets
    calls     what offer, answer, delete and query mean inside it
    rewrite   session descriptions on their way through
    stream    one socket towards one phone: who may be heard on it, where its media goes
    ports     pairs of ports, and the rest they get before they serve again

The pool and the relay know only the protocol of each other, so either end can be rtpengine's.
"""
