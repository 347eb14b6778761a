"""A certificate authority made on the spot, and every kind of certificate that a server may show.

As a program: certificates.py DIRECTORY NAME [ADDRESS...] writes ca.pem, NAME.pem and NAME.key there.
"""
import base64
import datetime
import hashlib
import ipaddress
import pathlib
import sys
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def distinguished(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def pin_of(key):
    """The pin of RFC 7858, 4.2: SHA-256 of the SubjectPublicKeyInfo."""
    data = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "sha256/" + base64.b64encode(hashlib.sha256(data).digest()).decode()


@dataclass
class Authority:
    key: object
    certificate: object


@dataclass
class Identity:
    """What a server shows: the files, and what was put into them."""
    certificate: str
    key: str
    pin: str
    not_before: int
    not_after: int


def begin(subject, key, issuer, start=-2 * DAY, end=90 * DAY):
    now = datetime.datetime.utcnow().replace(microsecond=0)
    return (x509.CertificateBuilder().subject_name(distinguished(subject)).issuer_name(issuer)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + start).not_valid_after(now + end))


def make_authority(name, parent=None, is_ca=True, permitted=None):
    key = new_key()
    signer = parent.key if parent else key
    issuer = parent.certificate.subject if parent else distinguished(name)
    builder = begin(name, key, issuer).add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if is_ca:
        builder = builder.add_extension(key_usage(sign=True), critical=True)
    if permitted:
        builder = builder.add_extension(
            x509.NameConstraints(permitted_subtrees=[x509.DNSName(permitted)], excluded_subtrees=None), critical=True)
    return Authority(key, builder.sign(signer, hashes.SHA256()))


def key_usage(sign):
    return x509.KeyUsage(digital_signature=not sign, content_commitment=False, key_encipherment=False,
                         data_encipherment=False, key_agreement=False, key_cert_sign=sign, crl_sign=sign,
                         encipher_only=False, decipher_only=False)


def make_leaf(authority, names=(), addresses=(), common_name="server", key=None, start=-DAY, end=30 * DAY,
              usage=SERVER, digest=None):
    key = key or new_key()
    issuer = authority.certificate.subject if authority else distinguished(common_name)
    builder = begin(common_name, key, issuer, start, end)
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    subjects = [x509.DNSName(name) for name in names]
    subjects += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    if subjects:
        builder = builder.add_extension(x509.SubjectAlternativeName(subjects), critical=False)
    signer = authority.key if authority else key
    return builder.sign(signer, digest or hashes.SHA256()), key


class Certificates:
    """A directory with ca.pem; `good` and the other makers write a pair of files and return an Identity."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.root = make_authority("Test Root")
        self.intermediate = make_authority("Test Intermediate", self.root)
        self.stranger = make_authority("Unknown Root")
        self.ca = str(self.directory / "ca.pem")
        pathlib.Path(self.ca).write_bytes(pem(self.root.certificate))

    def write(self, file, leaf, chain=()):
        certificate, key = leaf
        paths = self.directory / (file + ".pem"), self.directory / (file + ".key")
        paths[0].write_bytes(pem(certificate) + b"".join(pem(link.certificate) for link in chain))
        paths[1].write_bytes(key_pem(key))
        times = [int(moment.replace(tzinfo=datetime.timezone.utc).timestamp())
                 for moment in (certificate.not_valid_before, certificate.not_valid_after)]
        return Identity(str(paths[0]), str(paths[1]), pin_of(key), *times)

    def good(self, *names, addresses=(), file=None, key=None):
        return self.write(file or "good-" + names[0], make_leaf(self.root, names, addresses, key=key))

    def with_intermediate(self, name):
        return self.write("chain-" + name, make_leaf(self.intermediate, [name]), [self.intermediate])

    def client(self, name):
        return self.write("client-" + name, make_leaf(self.root, [name], usage=CLIENT))

    def bad(self, kind, name="a.test"):
        """One of BAD; it claims to be `name` as well as it can."""
        return getattr(self, "bad_" + kind)(kind, name)

    def bad_expired(self, kind, name):
        return self.write(kind, make_leaf(self.root, [name], start=-DAY, end=-DAY / 24))

    def bad_not_yet_valid(self, kind, name):
        return self.write(kind, make_leaf(self.root, [name], start=DAY / 2))

    def bad_wrong_name(self, kind, name):
        return self.write(kind, make_leaf(self.root, ["other.test"]))

    def bad_common_name_only(self, kind, name):
        return self.write(kind, make_leaf(self.root, common_name=name))

    def bad_self_signed(self, kind, name):
        return self.write(kind, make_leaf(None, [name]))

    def bad_unknown_ca(self, kind, name):
        return self.write(kind, make_leaf(self.stranger, [name]), [self.stranger])

    def bad_missing_intermediate(self, kind, name):
        return self.write(kind, make_leaf(self.intermediate, [name]))

    def bad_intermediate_not_ca(self, kind, name):
        false = make_authority("Not An Authority", self.root, is_ca=False)
        return self.write(kind, make_leaf(false, [name]), [false])

    def bad_name_constraint(self, kind, name):
        narrow = make_authority("Narrow Intermediate", self.root, permitted="example.test")
        return self.write(kind, make_leaf(narrow, [name]), [narrow])

    def bad_client_usage(self, kind, name):
        return self.write(kind, make_leaf(self.root, [name], usage=CLIENT))

    def bad_small_key(self, kind, name):
        return self.write(kind, make_leaf(self.root, [name], key=rsa.generate_private_key(65537, 1024)))

    def bad_sha1(self, kind, name):
        return self.write(kind, make_leaf(self.root, [name], digest=hashes.SHA1()))

    def bad_star(self, kind, name):
        return self.write(kind, make_leaf(self.root, ["*"]))

    def bad_star_too_broad(self, kind, name):
        return self.write(kind, make_leaf(self.root, ["*.test"]))

    def bad_address_mismatch(self, kind, name):
        return self.write(kind, make_leaf(self.root, addresses=["127.255.255.1"]))


# What is wrong, and the reason words of which one must be logged.
BAD = {
    "expired": {"expired"},
    "not_yet_valid": {"not_yet_valid"},
    "wrong_name": {"wrong_name"},
    "common_name_only": {"wrong_name"},
    "self_signed": {"self_signed", "unknown_ca"},
    "unknown_ca": {"unknown_ca", "self_signed"},
    "missing_intermediate": {"unknown_ca", "bad_chain"},
    "intermediate_not_ca": {"bad_chain", "purpose", "unknown_ca"},
    "name_constraint": {"bad_chain", "wrong_name"},
    "client_usage": {"purpose"},
    "small_key": {"weak"},
    "sha1": {"weak"},
    "star": {"wrong_name"},
    "star_too_broad": {"wrong_name"},
    "address_mismatch": {"wrong_name"},
}


def main(arguments):
    directory, name, addresses = arguments[0], arguments[1], arguments[2:]
    pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
    Certificates(directory).good(name, addresses=addresses, file=name)


if __name__ == "__main__":
    main(sys.argv[1:])
