"""What AWS is to a mail host, played in two network namespaces: a VPC and the internet outside it.

Real here: systemd, networkd, resolved, udev, net-utils, Docker and the kernel in the guest, all
routes, DHCP, DHCPv6 and router advertisements (dnsmasq), name resolution, TLS. Played: EC2's API
behind `aws` (a stand-in that sends its arguments by HTTPS, over whatever route the guest has, to
a server that knows who holds what), IMDSv2, `rpm`, and the services that only AWS's packages have.

The VPC drops what AWS drops: packets from a card with a source that is not the card's own, and
packets to or from the internet by IPv4 of a card without a public address. Attaching plugs the
device in while the guest runs.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jmespath

from host.guest import Card, Guest, Volume
from host.guest_image import RootFiles
from host.namespace import Namespace
from service.certificates import Authority

REGION = "us-east-1"
INSTANCE, OLD_INSTANCE = "i-0new", "i-0old"
INTERFACE, VOLUME = "eni-0123", "vol-0123"
CLIENT, CLIENT6 = "198.51.100.7", "2001:db8:ffff::7"
ADDRESS, ADDRESS6 = "203.0.113.10", "2001:db8:90::6"
_AWS, _AWS6 = "198.51.100.80", "2001:db8:ffff::80"
# The first card, which the instance is launched with, and the ENI that outlives instances.
FIRST = Card("tap5", "02:00:00:00:00:05", 5)
SECOND = Card("tap6", "02:00:00:00:00:06", 6)
_ADDRESSES = {"tap5": ("10.90.0.5", "2001:db8:90::5"), "tap6": ("10.90.0.6", ADDRESS6)}
_HOSTS = (f"ec2.{REGION}.api.aws", f"ec2.{REGION}.amazonaws.com", f"ecs.{REGION}.amazonaws.com")

_AWS_COMMAND = r"""#!/bin/bash
# Sends its arguments to EC2's endpoint, as the real one would send a request.
host=ec2.us-east-1.amazonaws.com
[ "${AWS_USE_DUALSTACK_ENDPOINT:-}" != true ] || host=ec2.us-east-1.api.aws
printf '%s\0' "$@" | exec curl --silent --show-error --fail --max-time 20 --data-binary @- \
    "https://$host/"
"""
_AGENT = """[Unit]
Description=What Amazon's agent does first: tell ECS that it is there
After=docker.service
[Service]
ExecStart=/bin/bash -c 'until curl --silent --fail --data x https://ecs.us-east-1.amazonaws.com/register; do sleep 1; done; exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""
_IDLE = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"

# Debian's package of net-utils (2.3.0) writes and reloads as 2.7.4 does, at another metric.
HOST_ROOT = RootFiles(
    packages=(
        *("amazon-ec2-net-utils", "ca-certificates", "curl", "docker.io", "e2fsprogs", "iptables"),
        *("kmod", "procps", "socat", "systemd-resolved"),
    ),
    files={
        "/usr/local/bin/aws": _AWS_COMMAND,
        # Every package is there.
        "/usr/local/bin/rpm": "#!/bin/sh\nexit 0\n",
        "/etc/systemd/system/ecs.service": _AGENT,
        "/etc/systemd/system/amazon-ecs-volume-plugin.service": _IDLE,
        # QEMU's disks under the name that EBS's have.
        "/etc/udev/rules.d/70-ebs.rules": (
            'KERNEL=="nvme*n1", ENV{ID_SERIAL_SHORT}=="vol*",'
            ' SYMLINK+="disk/by-id/nvme-Amazon_Elastic_Block_Store_$env{ID_SERIAL_SHORT}"\n'
        ),
    },
    commands=(
        # QEMU's cards for those of EC2.
        "sed -i 's/ena|ixgbevf/ena|ixgbevf|virtio_net/' /usr/lib/udev/rules.d/99-vpc-policy-routes.rules",
        "sed -i 's/^Driver=.*/Driver=ena ixgbevf vif virtio_net/' /usr/lib/systemd/network/80-ec2.network",
        "systemctl enable systemd-networkd systemd-resolved",
        # The boot script starts it.
        "systemctl disable docker.service docker.socket containerd.service",
        # What only Debian's has, and makes each `systemctl enable docker` take long.
        "rm -f /etc/init.d/docker",
        "rm -f /etc/resolv.conf",
        "ln -s /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf",
    ),
)


@dataclass
class Cloud:
    """The VPC and what is outside; use it as a context manager, then `launch`."""

    directory: Path
    vpc: Namespace = field(default_factory=Namespace)
    outside: Namespace = field(default_factory=Namespace)
    interface_holder: str | None = None
    volume_holder: str | None = None
    # What was asked of EC2 to change, and who registered with ECS from where, in order.
    changes: list[str] = field(default_factory=list)
    change_times: list[float] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    volume: Volume | None = None
    guest: Guest | None = None
    _ends: list[Callable[[], object]] = field(default_factory=list)

    def __enter__(self) -> Cloud:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for end in reversed(self._ends):
            end()

    # --- the guest -------------------------------------------------------------------------------

    def boot(self, guest: Guest, user_data: str) -> None:
        """Do what cloud-init does at the first boot of an instance: run the user data."""
        self.guest = guest
        guest.write("/etc/ssl/certs/ca-certificates.crt", self.authority.file.read_text())
        guest.write("/var/lib/cloud/part-001", user_data, "0700")
        guest.run("/var/lib/cloud/part-001")

    def await_ready(self, timeout: float = 1200) -> str:
        """Wait until the boot unit of this boot says that it is done; its journal."""
        assert self.guest is not None
        return self.guest.await_output(
            "journalctl --boot --unit plexus-boot --output cat --no-pager", "ready", timeout
        )

    # --- a client outside ------------------------------------------------------------------------

    def seen_as(self, address: str, port: int = 993) -> str:
        """Connect from outside; the address that the service there says it sees."""
        six = ":" in address
        family = socket.AF_INET6 if six else socket.AF_INET
        with self.outside.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(30)
            client.bind((CLIENT6 if six else CLIENT, 0))
            client.connect((address, port))
            with client.makefile("r") as lines:
                seen = ipaddress.ip_address(lines.readline().strip("[] \n"))
                return str(getattr(seen, "ipv4_mapped", None) or seen)

    # --- EC2 -------------------------------------------------------------------------------------

    def _ec2(self, arguments: list[str]) -> str:
        """Answer a command line of `aws ec2`, as text output."""
        options = _options(arguments)
        operation = options["operation"]
        if operation == "describe-network-interfaces":
            assert [INTERFACE] == options["--network-interface-ids"]
            found: dict[str, Any] = {"NetworkInterfaceId": INTERFACE, "MacAddress": SECOND.mac}
            if self.interface_holder:
                found["Attachment"] = {
                    "InstanceId": self.interface_holder,
                    "AttachmentId": f"eni-attach-{self.interface_holder}",
                }
            return _text(options, {"NetworkInterfaces": [found]})
        if operation == "describe-volumes":
            assert [VOLUME] == options["--volume-ids"]
            held = [{"InstanceId": self.volume_holder}] if self.volume_holder else []
            return _text(options, {"Volumes": [{"VolumeId": VOLUME, "Attachments": held}]})
        self.changes.append(" ".join(arguments))
        self.change_times.append(time.monotonic())
        self._change(operation, options)
        return ""

    def _change(self, operation: str, options: dict[str, Any]) -> None:
        assert self.guest is not None
        if operation == "attach-network-interface":
            assert self.interface_holder is None
            assert ([INSTANCE], ["1"]) == (options["--instance-id"], options["--device-index"])
            self.interface_holder = INSTANCE
            self.guest.cards = [*self.guest.cards, SECOND]
            self.guest.plug(SECOND)
        elif operation == "attach-volume":
            assert self.volume_holder is None
            assert self.volume is not None
            self.volume_holder = INSTANCE
            self.guest.volumes = [*self.guest.volumes, self.volume]
            self.guest.plug(self.volume)
        elif operation == "detach-network-interface":
            assert [f"eni-attach-{self.interface_holder}"] == options["--attachment-id"]
            self.interface_holder = None
        elif operation == "detach-volume":
            self.volume_holder = None
        else:
            raise AssertionError(f"the emulated EC2 does not know {operation}")

    def _aws_api(self, host: str, path: str, body: bytes, peer: str) -> str:
        if host.startswith("ec2."):
            return self._ec2([each.decode() for each in body.split(b"\0")[:-1]])
        if path == "/register":
            self.registered.append(peer)
        return "healthy\n"

    def _metadata(self, path: str) -> str | None:
        """IMDS: what the instance and net-utils ask. None: no such key."""
        keys: dict[str, str] = {
            "/latest/api/token": "token",
            "/latest/meta-data/instance-id": INSTANCE,
            "/latest/meta-data/mac": FIRST.mac,
        }
        cards = [(FIRST, 0)]
        if self.interface_holder == INSTANCE:
            cards.append((SECOND, 1))
        for card, number in cards:
            four, six = _ADDRESSES[card.tap]
            of_card = {
                "device-number": str(number),
                "interface-id": INTERFACE if number else "eni-first",
                "local-ipv4s": four,
                "ipv6s": six,
                "subnet-ipv4-cidr-block": "10.90.0.0/20",
                "subnet-ipv6-cidr-blocks": "2001:db8:90::/64",
            }
            start = f"/latest/meta-data/network/interfaces/macs/{card.mac}/"
            keys |= {start + key: value for key, value in of_card.items()}
        return keys.get(path)

    # --- the network -----------------------------------------------------------------------------

    def _start(self) -> None:
        self.authority = Authority(self.directory)
        for namespace in (self.vpc, self.outside):
            namespace.__enter__()
            self._ends.append(namespace.__exit__)
        self._connect()
        self._filter()
        self._hand_out_addresses()
        for address in (_AWS, _AWS6):
            self._serve(self.outside, address, 443, self._aws_api, tls=True)
        self._serve(
            self.vpc, "169.254.169.254", 80, lambda _host, path, _body, _peer: self._metadata(path)
        )

    def _connect(self) -> None:
        vpc, outside = self.vpc, self.outside
        for line in (
            "link add br0 type bridge",
            "link set br0 up mtu 9001",
            "address add 10.90.0.1/20 dev br0",
            "address add 2001:db8:90::1/64 dev br0 nodad",
            "address add 169.254.169.254/32 dev lo",
            f"link add wan type veth peer name wan netns {outside.name}",
            "address add 198.51.100.1/24 dev wan",
            "address add 2001:db8:ffff::1/64 dev wan nodad",
            "link set wan up",
        ):
            vpc.ip(line)
        for tap in _ADDRESSES:
            vpc.tap(tap, "br0")
        for line in (
            *(f"address add {each}/24 dev wan" for each in (CLIENT, _AWS)),
            *(f"address add {each}/64 dev wan nodad" for each in (CLIENT6, _AWS6)),
            "link set wan up",
            "route add 203.0.113.0/24 via 198.51.100.1",
            "route add 2001:db8:90::/64 via 2001:db8:ffff::1",
        ):
            outside.ip(line)
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            vpc.run("sysctl", "-qw", f"{key}=1")

    def _filter(self) -> None:
        """Apply the source check of each interface, and the internet gateway."""
        guards = "".join(
            f"""
            chain {tap} {{
                type filter hook ingress device {tap} priority 0;
                ether type ip ip saddr != {{ 0.0.0.0, {four} }} counter drop
                ether type ip6 ip6 saddr != {{ ::, fe80::/10, {six} }} counter drop
            }}"""
            for tap, (four, six) in _ADDRESSES.items()
        )
        self.vpc.run(
            *("nft", "-f", "-"),
            text=f"""
            table netdev source_check {{ {guards}
            }}
            table ip gateway {{
                chain forward {{
                    type filter hook forward priority 0;
                    iifname br0 oifname wan ip saddr != 10.90.0.6 counter drop
                }}
                chain inward {{
                    type nat hook prerouting priority dstnat;
                    iifname wan ip daddr {ADDRESS} dnat to 10.90.0.6
                }}
                chain outward {{
                    type nat hook postrouting priority srcnat;
                    oifname wan ip saddr 10.90.0.6 snat to {ADDRESS}
                }}
            }}""",
        )

    def _hand_out_addresses(self) -> None:
        names = [option for host in _HOSTS for option in _names(host)]
        hosts = [
            f"--dhcp-host={card.mac},{_ADDRESSES[card.tap][0]},[{_ADDRESSES[card.tap][1]}]"
            for card in (FIRST, SECOND)
        ]
        command = self.vpc.inside(
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv"),
            *("--no-hosts", "--interface=br0", "--bind-interfaces", "--user=root"),
            *(f"--pid-file={self.directory}/dnsmasq.pid", "--log-facility=-", "--log-dhcp"),
            f"--dhcp-leasefile={self.directory}/leases",
            *("--dhcp-range=10.90.0.0,static,255.255.240.0,1h", "--dhcp-option=26,9001"),
            *("--enable-ra", "--dhcp-range=2001:db8:90::,static,64,450s"),
            *(*hosts, *names),
        )
        with (self.directory / "dnsmasq.log").open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._ends.append(lambda: (process.kill(), process.wait()))
        # It tells what it cannot do within moments.
        time.sleep(0.5)
        assert process.poll() is None, (self.directory / "dnsmasq.log").read_text()

    def _serve(
        self,
        namespace: Namespace,
        address: str,
        port: int,
        answer: Callable[[str, str, bytes, str], str | None],
        *,
        tls: bool = False,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = namespace.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(16)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts = {host: self.authority.issue(host) for host in _HOSTS}
            made = {host: _context(*files) for host, files in contexts.items()}

            def choose(wrapped: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
                if name in made:
                    wrapped.context = made[name]

            context.sni_callback = choose
            listener = context.wrap_socket(
                listener, server_side=True, do_handshake_on_connect=False
            )
        server = _Server(listener, functools.partial(_Request, answer))
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        self._ends.append(lambda: (server.shutdown(), server.server_close()))


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _names(host: str) -> list[str]:
    """DNS: a dual-stack endpoint by both families, the others by IPv4 alone."""
    addresses = [_AWS, _AWS6] if host.endswith(".api.aws") else [_AWS]
    # `local`: what has no address of a family is not asked elsewhere.
    return [*(f"--address=/{host}/{each}" for each in addresses), f"--local=/{host}/"]


def _options(arguments: list[str]) -> dict[str, Any]:
    """Parse `ec2 --region R --output text OPERATION --option value... --switch`."""
    assert "ec2" == arguments[0], arguments
    found: dict[str, Any] = {}
    name = ""
    for argument in arguments[1:]:
        if argument.startswith("--"):
            name = argument
            found[name] = []
        elif name in {"--output", "--region"} and found[name]:
            found["operation"] = argument
        else:
            found[name].append(argument)
    assert ([REGION], ["text"]) == (found["--region"], found["--output"])
    return found


def _text(options: dict[str, Any], answer: dict[str, Any]) -> str:
    """Return what `--query ... --output text` prints."""
    found = jmespath.search(options["--query"][0], answer)
    row = found if isinstance(found, list) else [found]
    return "\t".join("None" if each is None else str(each) for each in row) + "\n"


class _Server(socketserver.ThreadingTCPServer):
    """Serves a socket that is bound already."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, handler: Any) -> None:
        super().__init__(listener.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnects; the guest logs what it missed."""


class _Request(BaseHTTPRequestHandler):
    """One HTTP request, answered by a function of host, path, body and peer."""

    timeout = 30

    def __init__(self, answer: Callable[[str, str, bytes, str], str | None], *given: Any) -> None:
        self._answer = answer
        super().__init__(*given)

    def do_POST(self) -> None:
        """Answer, whatever the method."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host = self.headers.get("Host", "")
        try:
            text, status = self._answer(host, self.path, body, self.client_address[0]), 200
        except AssertionError as error:
            text, status = f"{error!r}\n", 400
        if text is None:
            text, status = "", 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_PUT = do_POST  # noqa: N815 (http.server's names)

    def log_message(self, *_: object) -> None:
        """Nothing: the guest's journal has it."""
