"""A small certificate authority for one box, and the server certificate it signs.

Rules.
1. The authority is made once and valid for as long as certificates can say, whatever the clock says: a box
   without a battery may start in 1970. It may sign only names of local networks (name constraints), so
   that trusting it does not mean trusting it about the rest of the world.
2. The server certificate is renewed before it ends, when the clock turns out to be elsewhere, and when
   the box gets another name or address; open connections stay.
3. Keys lie in files of mode 0600 and are never sent anywhere.
4. `cryptography` weighs 10 MB for a minute's work in a year: the agent runs this module as a program
   (`certificates.py`) and never imports it.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.private import read_private, replace_private
from agent.tls.addresses import normal
from agent.tls.context import TlsError, own_context

log = logging.getLogger(__name__)

CA_FROM = datetime(2020, 1, 1, tzinfo=UTC)
CA_UNTIL = datetime(2049, 12, 31, tzinfo=UTC)
LIFE = timedelta(days=397)  # what browsers take
BACKDATED = timedelta(days=2)  # a client's clock may be behind ours
RENEW_BEFORE = timedelta(days=30)
LOCAL_NAMES = ("localhost", "local", "lan", "home.arpa", "internal", "intranet")

_CURVE = ec.SECP256R1


class Authority:
    """The box's own, in `folder`. `clock` is Unix time in seconds, `names` asks what they must cover."""

    def __init__(
        self, folder: Path, names: Callable[[], Sequence[str]], clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._names, self._clock = folder, names, clock
        self._context: ssl.SSLContext | None = None
        self._leaf: x509.Certificate | None = None

    def open(self) -> ssl.SSLContext:
        """A context with a certificate that is good now; made if need be. TlsError if that cannot be."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ca_key, self.ca = self._authority()
            if unsigned := set(self._wanted()) - set(self._names_now()):
                log.warning("https: a new authority for %s: it must be trusted anew", ", ".join(unsigned))
                (self._folder / "ca.pem").unlink()
                self._ca_key, self.ca = self._authority()
            self._leaf = self._kept()
            if self._leaf is None or self._due(self._leaf):
                self._issue()
            self._context = own_context(self._folder / "server.pem", self._folder / "server.key")
        except (OSError, ValueError) as error:
            text = f"{self._folder}: cannot be used: {error}; delete the folder to have all made anew"
            raise TlsError(text) from error
        return self._context

    def check(self) -> bool:
        """Renew the server certificate if it is time; whether it was. To be called now and then."""
        if self._leaf is None or self._context is None or not self._due(self._leaf):
            return False
        self._issue()
        self._context.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")
        return True

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, as browsers show it."""
        return self.ca.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def ca_pem(self) -> bytes:
        """What clients install to trust this box; no secret."""
        return self.ca.public_bytes(serialization.Encoding.PEM)

    def made(self) -> dict[str, object]:
        """What there is to know about them once they are `open`; JSON."""
        if self._leaf is None:
            raise RuntimeError("not open")
        names = self._leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return {
            "ca_pem": self.ca_pem.decode(),
            "fingerprint": self.fingerprint,
            "names": sorted({str(each.value) for each in names} | set(self._wanted())),
            "from_s": self._leaf.not_valid_before_utc.timestamp(),
            "renew_s": (self._leaf.not_valid_after_utc - RENEW_BEFORE).timestamp(),
        }

    def _authority(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_file, file = self._folder / "ca.key", self._folder / "ca.pem"
        if not (key_file.exists() and file.exists()):
            key = ec.generate_private_key(_CURVE())
            replace_private(key_file, _key_pem(key))
            replace_private(file, _ca(key, self._wanted()).public_bytes(serialization.Encoding.PEM))
        loaded = serialization.load_pem_private_key(read_private(key_file), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_file.name}: expected an EC key")  # noqa: TRY004 - a file, not an argument
        ca = x509.load_pem_x509_certificate(file.read_bytes())
        if ca.public_key() != loaded.public_key():
            raise ValueError(f"{file.name} and {key_file.name} do not belong together")
        return loaded, ca

    def _kept(self) -> x509.Certificate | None:
        file, key_file = self._folder / "server.pem", self._folder / "server.key"
        try:
            read_private(key_file)
            leaf = x509.load_pem_x509_certificate(file.read_bytes())
            leaf.verify_directly_issued_by(self.ca)
        except FileNotFoundError:
            return None
        except Exception as error:
            log.warning("https: %s: %s: made anew", file, error)
            return None
        return leaf

    def _due(self, leaf: x509.Certificate) -> bool:
        now = datetime.fromtimestamp(self._clock(), UTC)
        near_end = now > leaf.not_valid_after_utc - RENEW_BEFORE
        return near_end or now < leaf.not_valid_before_utc or bool(self._missing(leaf))

    def _missing(self, leaf: x509.Certificate) -> set[str]:
        """Names of ours that `leaf` does not cover."""
        said = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(self._names_now()) - {str(each.value) for each in said}

    def _wanted(self) -> list[str]:
        """Names and addresses that should be covered, each in the one way certificates write it."""
        return list(dict.fromkeys(normal(each) for each in self._names()))

    def _names_now(self) -> list[str]:
        """Those of them that the authority may sign."""
        said = self.ca.extensions.get_extension_for_class(x509.NameConstraints).value
        allowed = [str(each.value) for each in said.permitted_subtrees or ()]
        return [
            each
            for each in self._wanted()
            if not _hosts([each]) or any(each == one or each.endswith(f".{one}") for one in allowed)
        ]

    def _issue(self) -> None:
        key = ec.generate_private_key(_CURVE())
        now = datetime.fromtimestamp(self._clock(), UTC)
        names = self._names_now()
        leaf = _leaf(key, self.ca, self._ca_key, names, now)
        pem = leaf.public_bytes(serialization.Encoding.PEM) + self.ca_pem
        replace_private(self._folder / "server.key", _key_pem(key))
        replace_private(self._folder / "server.pem", pem)
        self._leaf = leaf
        log.info("https: certificate for %s until %s", ", ".join(names), leaf.not_valid_after_utc.date())


def _ca(key: ec.EllipticCurvePrivateKey, names: Iterable[str]) -> x509.Certificate:
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"UICPS Edge Agent {mark.digest.hex()[:8]}")]
    )
    allowed = [x509.DNSName(each) for each in dict.fromkeys((*LOCAL_NAMES, *_hosts(names)))]
    return (
        _builder(key, subject, subject, CA_FROM, CA_UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=allowed, excluded_subtrees=None), critical=True
        )
        .add_extension(mark, critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (_hosts(names) or ["agent"])[0][:64])])
    alternatives = [_alternative(each) for each in names]
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(key, subject, ca.subject, now - BACKDATED, now - BACKDATED + LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, issuer: x509.Name, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _hosts(names: Iterable[str]) -> list[str]:
    return [each for each in names if isinstance(_alternative(each), x509.DNSName)]


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class _Gathered(logging.Handler):
    """What is said here, for the log of the process that asked."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.levelno, record.getMessage()))


def main() -> None:
    """As a program: `{"folder", "names", "now_s"}` in, what `certificates.Made` holds out, as JSON."""
    asked, gathered = orjson.loads(sys.stdin.buffer.read()), _Gathered()
    logging.basicConfig(level=logging.INFO, handlers=[gathered])
    authority = Authority(Path(asked["folder"]), lambda: asked["names"], lambda: float(asked["now_s"]))
    try:
        authority.open()
        answer = {"made": authority.made(), "said": gathered.said}
    except OSError as error:
        answer = {"error": str(error), "said": gathered.said}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    main()
