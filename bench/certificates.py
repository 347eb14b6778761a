"""The throw-away authority of the bench, the server's certificate, and three certificates that nobody may accept."""
import pathlib
import subprocess

NAME = "dot.example"
ADDRESSES = ("127.0.0.1", "10.77.0.2", "10.77.0.3")
BAD = {"wrong-name": "a certificate for another name", "expired": "an expired certificate",
       "unknown": "a certificate of an unknown authority"}


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def make_authority(directory, stem):
    openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{stem}.key")
    openssl(directory, "req", "-x509", "-new", "-key", f"{stem}.key", "-days", "30", "-subj", f"/CN=bench {stem}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
            "-out", f"{stem}.pem")


def make_certificate(directory, stem, authority="authority", names=None, dates=None):
    """`dates` are two texts as `openssl ca` wants them; without them the certificate is good for a month."""
    names = names or [f"DNS:{NAME}", *(f"IP:{address}" for address in ADDRESSES)]
    common_name = names[0].removeprefix("DNS:")  # some look at nothing else
    (directory / "extensions").write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth\n")
    openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{stem}.key")
    openssl(directory, "req", "-new", "-key", f"{stem}.key", "-subj", f"/CN={common_name}", "-out", "request")
    database = directory / f"{stem}.database"
    database.mkdir()
    (database / "index").touch()
    (directory / "settings").write_text(
        f"[ca]\ndefault_ca=bench\n[bench]\ndatabase={database}/index\nnew_certs_dir={database}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n")
    period = ["-startdate", dates[0], "-enddate", dates[1]] if dates else ["-days", "30"]
    openssl(directory, "ca", "-batch", "-notext", "-config", "settings", "-extfile", "extensions", "-in", "request",
            "-cert", f"{authority}.pem", "-keyfile", f"{authority}.key", "-out", f"{stem}.pem", *period)


def make(directory):
    directory = pathlib.Path(directory)
    make_authority(directory, "authority")
    make_authority(directory, "stranger")
    make_certificate(directory, "server")
    make_certificate(directory, "wrong-name", names=["DNS:other.example"])
    make_certificate(directory, "expired", dates=("20200101000000Z", "20200201000000Z"))
    make_certificate(directory, "unknown", authority="stranger")
    for path in directory.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    directory.chmod(0o755)
