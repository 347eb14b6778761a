"""A zone that is signed for real, with a key of its own, as a script of the scripted server: www has an address, forged has
one that the signature is not for. Other names are the server's own."""
import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec

import scripts

DAY = 86400


class SignedZone:
    def __init__(self, name):
        self.name = dns.name.from_text(name)
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self.key = dns.dnssec.make_dnskey(self.secret.public_key(), dns.dnssec.ECDSAP256SHA256, flags=257)
        self.sets = {}
        self.add(dns.rrset.from_rdata(self.name, DAY, self.key))
        self.add(self.address_of("www", "192.0.2.7"))
        self.add(self.address_of("forged", "192.0.2.8"), shown=self.address_of("forged", "192.0.2.9"))

    @property
    def trust_anchor(self):
        return "%s DNSKEY %s" % (self.name, self.key)

    def address_of(self, label, address):
        return dns.rrset.from_text(dns.name.from_text(label, self.name), DAY, "IN", "A", address)

    def add(self, signed, shown=None):
        signature = dns.dnssec.sign(signed, self.secret, self.name, self.key, lifetime=DAY)
        self.sets[signed.name, signed.rdtype] = [shown or signed, dns.rrset.from_rdata(signed.name, DAY, signature)]

    def __call__(self, connection, heard):
        query = dns.message.from_wire(heard.raw)
        found = self.sets.get((query.question[0].name, query.question[0].rdtype))
        if found is None:
            return scripts.answer(connection, heard)
        reply = dns.message.make_response(query, recursion_available=True)
        reply.answer = found if query.ednsflags & dns.flags.DO else found[:1]
        connection.send(reply.to_wire())
