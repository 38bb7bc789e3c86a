"""What is wrong on the PBX's side: its process, its port, its firewall, the router in front of it, its names. Whoever
breaks the server has one of their own."""

from __future__ import annotations

from tests.support.baresip import Baresip
from tests.support.network_namespaces import run
from tests.support.pbx import PostgresStore, SqliteStore
from tests.support.postgres import PostgresCluster
from tests.support.processes import wait_until
from tests.verdicts.case import SIP_PORT, Host, Place
from tests.verdicts.faults_network import sip_helper


class OverTls(Baresip):
    """Set to TLS, with the port of UDP and TCP."""

    def account(self, password: str) -> str:
        return super().account(password).replace("transport=udp", "transport=tls")


class ServerFaults(Place):
    # --- it hears nothing -----------------------------------------------------------------------------------

    def test_nothing_received_of_a_new_extension(self):
        with self.fault("nothing_received", "-", "an extension whose phone was never set up") as fault:
            fault.is_named(self.own_pbx(self.host()))

    def test_nothing_received_through_a_router(self):
        with self.fault("nothing_received", "baresip", "the router at home drops port 5060") as fault:
            number, host = self.own_pbx(self.host()), self.home()
            self.firewall(host.router.namespace, f"through udp dport {SIP_PORT} drop")
            phone = self.start_baresip(host, number)
            wait_until(lambda: phone.registers, "baresip to send its REGISTER")
            fault.is_named(number)

    def test_nothing_received_with_another_port(self):
        with self.fault("nothing_received", "linphonec", "another port is typed into the phone") as fault:
            number = self.own_pbx(self.host())
            phone = self.start_linphone(self.host(), number, server=(self.server[0], 5070))
            wait_until(lambda: phone.registers, "linphonec to send its REGISTER")
            fault.is_named(number)

    def test_wrong_transport_baresip(self):
        with self.fault("wrong_transport", "baresip", "it is set to TLS") as fault:
            number = self.own_pbx(self.host())
            self.start_baresip(self.host(), number, kind=OverTls)
            self.pbx.program.wait_for("cause=wrong_transport")
            fault.is_named(number)

    def test_wrong_transport_linphone(self):
        with self.fault("wrong_transport", "linphonec", "it is set to TLS") as fault:
            number = self.own_pbx(self.host())
            self.start_linphone(self.host(), number, transport="tls")
            self.pbx.program.wait_for("cause=wrong_transport")
            fault.is_named(number)

    def test_firewall_closed(self):
        with self.fault("firewall_closed", "baresip", "nft on the PBX's machine drops port 5060") as fault:
            host = self.host()
            number = self.own_pbx(host)
            self.firewall(host.namespace, f"in udp dport {SIP_PORT} drop")
            phone = self.start_baresip(self.host(), number)
            wait_until(lambda: phone.registers, "baresip to send its REGISTER")
            fault.is_named(number)

    # --- a router in front of it ------------------------------------------------------------------------------

    def test_alg_in_front_of_the_server(self):
        with self.fault("alg_tampering", "baresip", "the SIP helper of the office's router rewrites the request's URI"
                        ) as fault:
            office, outside = self.networks.switch("office"), self.public_address()
            router = self.networks.router(
                "office-nat", self.internet, f"{outside}/24", office, "10.20.0.1/24",
                forwards=[("udp", str(SIP_PORT))], to="10.20.0.10",
            )
            sip_helper(router.namespace)
            host = Host(self.networks.host("office-pbx", office, "10.20.0.10/24", "10.20.0.1"), "10.20.0.10")
            number = self.own_pbx(host, EXTERNAL_IP=outside, SIP_DOMAIN=outside)
            self.start_baresip(self.host(), number, server=(outside, SIP_PORT), domain=outside)
            fault.is_named(number)

    # --- its process, its port, its database -------------------------------------------------------------------

    def test_sip_not_running(self):
        with self.fault("sip_not_running", "-", "runsip was stopped") as fault:
            number = self.own_pbx(self.host())
            self.pbx.terminate()
            fault.is_named(number)

    def test_sip_killed_with_a_phone_registered(self):
        with self.fault("sip_not_running", "baresip", "runsip was killed while a phone was registered") as fault:
            number = self.own_pbx(self.host())
            self.start_baresip(self.host(), number).wait_registered()
            self.pbx.kill9()
            fault.is_named(number, seconds=60)

    def test_port_taken(self):
        with self.fault("port_taken", "baresip", "another program has port 5060") as fault:
            host = self.host()
            number = self.own_pbx(host)
            self.pbx.terminate()
            self.start_baresip(host, number, sip_port=SIP_PORT)
            fault.is_named(number)

    def test_database_down(self):
        with self.fault("database_down", "-", "PostgreSQL was stopped") as fault:
            cluster = PostgresCluster(keep_durable=False)
            self.at_end.callback(cluster.stop)
            number = self.own_pbx(None, PostgresStore(cluster))
            self.pbx.store.remove = lambda: None  # it goes with its server
            self.pbx.program.stop()
            cluster.stop()
            fault.is_named(number)

    def test_migrations_pending(self):
        with self.fault("migrations_pending", "-", "the program is newer than its database") as fault:
            number = self.own_pbx(self.host())
            self.execute("DELETE FROM django_migrations WHERE app = 'subscriptions'")
            fault.is_named(number)

    def test_disk_full(self):
        with self.fault("disk_full", "-", "nothing is left on the disk of the database") as fault:
            store = SqliteStore()
            run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(store.directory))
            self.at_end.callback(run, "umount", "-l", str(store.directory))
            number = self.own_pbx(self.host(), store)
            self.pbx.terminate()
            self.pbx.start()
            with (store.directory / "film").open("wb") as film:
                try:
                    while True:
                        film.write(bytes(65536))
                except OSError:
                    pass
            fault.is_named(number)

    # --- its names, which only the doctor looks at in full ------------------------------------------------------

    def test_domain_not_resolving(self):
        with self.fault("domain_not_resolving", "-", "a name that no name server knows") as fault:
            self.own_pbx(self.host())
            fault.is_found(SIP_DOMAIN="pbx.nowhere.invalid")

    def test_advertises_bind_address(self):
        with self.fault("advertises_bind_address", "-", "SIP_DOMAIN=0.0.0.0, as copied from where it listens") as fault:
            self.own_pbx(self.host())
            fault.is_found(SIP_DOMAIN="0.0.0.0")

    def test_domain_wrong_address(self):
        with self.fault("domain_wrong_address", "-", "a domain that is another machine's address") as fault:
            self.own_pbx(self.host())
            fault.is_found(SIP_DOMAIN="198.51.100.7")
