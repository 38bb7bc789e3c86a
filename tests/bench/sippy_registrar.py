"""A registrar on sippy's transactions and digest, for the Python that has sippy (nothing of ours is imported):

    python sippy_registrar.py PORT REALM PASSWORDS       a file of "user password" lines

prints "listening" and keeps all registrations in memory."""

import sys
import time

from sippy.Core.EventDispatcher import ED2
from sippy.SipHeader import SipHeader
from sippy.SipLogger import SipLogger
from sippy.SipTransactionManager import SipTransactionManager
from sippy.SipWWWAuthenticate import SipWWWAuthenticate


class Registrar:
    def __init__(self, realm, passwords):
        self.realm, self.passwords = realm, passwords
        self.bindings = {}

    def receive(self, request, transaction):
        if request.getMethod() != "REGISTER":
            return request.genResponse(405, "Method Not Allowed"), None, None
        if not request.countHFs("authorization"):
            answer = request.genResponse(401, "Unauthorized")
            answer.appendHeader(SipHeader(body=SipWWWAuthenticate(realm=self.realm, algorithm="MD5")))
            return answer, None, None
        credentials = request.getHFBody("authorization")
        if not credentials.parsed:
            credentials.parse()
        user = request.getHFBody("to").getUri().url.username
        password = self.passwords.get(credentials.username)
        if password is None or credentials.username != user or not credentials.verify(password, "REGISTER"):
            return request.genResponse(403, "Forbidden"), None, None
        expires = request.getHFBody("expires").number
        of_user = self.bindings.setdefault(user, {})
        for contact in request.getHFBodys("contact"):
            if expires:
                of_user[str(contact.address.url)] = (contact, time.monotonic() + expires)
            else:
                of_user.pop(str(contact.address.url), None)
        answer = request.genResponse(200, "OK")
        for contact, _end in of_user.values():
            answer.appendHeader(SipHeader(name="contact", body=contact.getCopy()))
        return answer, None, None


def main():
    port, realm, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    with open(path) as file:
        passwords = dict(line.split() for line in file)
    settings = {"_sip_address": "127.0.0.1", "_sip_port": port, "_sip_logger": SipLogger("bench", logfile="sip.log")}
    settings["_sip_tm"] = SipTransactionManager(settings, Registrar(realm, passwords).receive)
    print("listening", flush=True)
    ED2.loop()


if __name__ == "__main__":
    main()
