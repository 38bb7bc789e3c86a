"""The SIP protocol room: bytes in, decisions out. No Django, no asyncio, no socket, no clock, no random."""
