"""Dialogs: RFC 3261 12, seen from both sides of one call."""

import unittest

from sipcore.protocol.dialog import Dialog
from sipcore.protocol.errors import SipError
from sipcore.protocol.message import Request, make_response, parse_message

from .link import request

ROUTES = ("<sip:p1.test;lr>", "<sip:p2.test;lr>")


class DialogTest(unittest.TestCase):
    def setUp(self):
        self.invite = request("INVITE", cseq=7)
        self.invite.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        self.invite.add("Record-Route", ", ".join(ROUTES))
        self.invite.set("From", '"A, B" <sip:1001@pbx.test;x=1>;tag=f1;y=2')
        self.ok = make_response(self.invite, 200, to_tag="t1", headers=[("Contact", "<sip:1002@192.0.2.2;ob>")])
        self.callee = Dialog.as_uas(self.invite, "t1", "<sip:1002@192.0.2.2>")
        self.caller = Dialog.as_uac(self.invite, self.ok, "<sip:1001@192.0.2.1>")

    def test_both_sides_agree(self):
        self.assertEqual(self.caller.key, ("c1", "f1", "t1"))
        self.assertEqual(self.callee.key, ("c1", "t1", "f1"))
        self.assertEqual(
            (self.caller.remote_target, self.callee.remote_target), ("sip:1002@192.0.2.2;ob", "sip:1001@192.0.2.1")
        )
        self.assertEqual((self.caller.route_set, self.callee.route_set), ([*ROUTES][::-1], [*ROUTES]))
        self.assertFalse(self.caller.early or self.caller.secure)

    def test_requests_within_it(self):
        bye = parse_message(self.caller.make_request("BYE", [("Reason", "x")]).to_bytes())
        self.assertEqual((bye.uri, bye.cseq, bye.max_forwards), ("sip:1002@192.0.2.2;ob", (8, "BYE"), 70))
        self.assertEqual(bye.getall("Route"), [*ROUTES][::-1])
        self.assertEqual((bye.from_.tag, bye.from_.display_name, bye.to.tag), ("f1", "A, B", "t1"))
        self.assertEqual(bye.from_.params["y"], "2")
        self.assertTrue(self.callee.matches(bye))
        self.assertFalse(self.caller.matches(bye))
        self.callee.receive_request(bye)
        info = self.callee.make_request("INFO")
        self.assertEqual(
            (info.cseq.number, info.uri, info.from_.tag, info.to.tag), (1, "sip:1001@192.0.2.1", "t1", "f1")
        )
        self.assertEqual(self.callee.make_request("INVITE").cseq.number, 2)

    def test_a_request_of_another_call(self):
        for name, value in (
            ("Call-ID", "c2"),
            ("To", "<sip:1002@pbx.test>;tag=t2"),
            ("From", "<sip:1001@pbx.test>;tag=f2"),
        ):
            bye = self.caller.make_request("BYE")
            bye.set(name, value)
            self.assertFalse(self.callee.matches(bye))

    def test_responses(self):
        self.assertTrue(self.caller.matches(self.ok))
        self.assertFalse(self.caller.matches(make_response(self.invite, 200, to_tag="fork")))

    def test_older_cseq_is_refused_with_500(self):
        first, second = self.caller.make_request("INFO"), self.caller.make_request("INFO")
        self.callee.receive_request(second)
        with self.assertRaises(SipError) as caught:
            self.callee.receive_request(first)
        self.assertEqual(caught.exception.status, 500)
        self.assertEqual(self.callee.remote_seq, 9)
        self.callee.receive_request(self.caller.make_ack(self.invite))  # has the number of its INVITE

    def test_target_refresh_both_ways(self):
        again = self.caller.make_request("INVITE")
        again.set("Contact", "<sip:1001@198.51.100.7:9?Subject=x>")
        self.callee.receive_request(again)
        self.assertEqual(self.callee.remote_target, "sip:1001@198.51.100.7:9")
        self.caller.receive_response(make_response(again, 200, headers=[("Contact", "<sip:1002@198.51.100.8>")]))
        self.assertEqual(self.caller.remote_target, "sip:1002@198.51.100.8")
        self.caller.receive_response(make_response(again, 488, headers=[("Contact", "<sip:evil@h>")]))
        self.callee.receive_request(self.caller.make_request("INFO", [("Contact", "<sip:evil@h>")]))
        self.assertEqual(
            (self.caller.remote_target, self.callee.remote_target), ("sip:1002@198.51.100.8", "sip:1001@198.51.100.7:9")
        )

    def test_early_dialog_gets_its_route_from_the_2xx(self):
        ringing = make_response(self.invite, 180, to_tag="t1")
        dialog = Dialog.as_uac(self.invite, ringing, "<sip:1001@192.0.2.1>")
        self.assertEqual((dialog.early, dialog.remote_target), (True, "sip:1002@pbx.test"))
        self.ok.set("Record-Route", "<sip:p9.test;lr>")
        dialog.receive_response(self.ok)
        self.assertEqual((dialog.early, dialog.route_set), (False, ["<sip:p9.test;lr>"]))
        self.assertEqual(dialog.remote_target, "sip:1002@192.0.2.2;ob")

    def test_ack_to_a_2xx(self):
        self.invite.add("Proxy-Authorization", "Digest x")
        ack = self.caller.make_ack(self.invite)
        self.assertEqual((ack.cseq, ack.get("Proxy-Authorization")), ((7, "ACK"), "Digest x"))
        self.assertEqual(ack.getall("Route"), [*ROUTES][::-1])
        self.assertEqual(self.caller.make_request("BYE").cseq.number, 8)

    def test_strict_router(self):
        self.caller.route_set = ["<sip:old.test>", "<sip:p2.test;lr>"]
        bye = self.caller.make_request("BYE")
        self.assertEqual(bye.uri, "sip:old.test")
        self.assertEqual(bye.getall("Route"), ["<sip:p2.test;lr>", "<sip:1002@192.0.2.2;ob>"])

    def test_no_dialog_without_contact_or_tag(self):
        self.invite.remove("Contact")
        with self.assertRaises(SipError):
            Dialog.as_uas(self.invite, "t", "<sip:me>")
        with self.assertRaises(SipError):
            Dialog.as_uac(self.invite, make_response(self.invite, 200, to_tag="t"), "<sip:me>")
        with self.assertRaises(SipError):
            Dialog.as_uac(self.invite, make_response(self.invite, 180), "<sip:me>")

    def test_rfc_2543_peer_without_tag(self):
        self.invite.set("From", "<sip:1001@pbx.test>")
        dialog = Dialog.as_uas(self.invite, "t1", "<sip:me>")
        self.assertEqual(dialog.make_request("BYE").get("To"), "<sip:1001@pbx.test>")

    def test_sips_is_secure(self):
        secure = Request("INVITE", "sips:1002@pbx.test", self.invite.headers)
        self.assertTrue(Dialog.as_uas(secure, "t", "<sips:me@h>").secure)
