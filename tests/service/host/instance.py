"""A mail host that is a container: the boot script runs in Debian with stand-ins for AWS and kernel.

The stand-ins are one small shell script under many names. It writes each call to a log and answers
from files, so that a test can say who holds the address, what the disk holds, and whether a mount
works; attaching makes the device appear and changes who holds it, as EC2 would. What they cannot
show (routes, networkd, disks) is seen in a virtual machine, in tests/host.
"""

import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from service.container_engine import Engine

STAND_IN = r"""#!/bin/sh
name=${0##*/}
echo "$name $*" >> /host/calls
fact() { cat "/host/$1" 2>/dev/null; }
case "$name $*" in
"aws "*attach-network-interface*) fact instance > /host/interface-holder ;;
"aws "*detach-network-interface*) echo None > /host/interface-holder ;;
"aws "*attach-volume*)
    fact instance > /host/volume-holder
    if [ ! -e /host/volume-lost ]; then
        mkdir -p /dev/disk/by-id
        volume=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123
        truncate --size=256M $volume
        [ ! -s /host/disk ] || echo data | /bin/dd of=$volume bs=1 seek="$(fact disk)" conv=notrunc status=none
    fi ;;
"aws "*detach-volume*) echo None > /host/volume-holder ;;
"aws "*Attachment.InstanceId*) fact interface-holder ;;
"aws "*Attachment.AttachmentId*) echo eni-attach-1 ;;
"aws "*MacAddress*) echo 00:00:00:00:00:00 ;;
"aws "*Attachments*InstanceId*) fact volume-holder ;;
"curl "*api/token*) echo token ;;
"curl "*instance-id*) fact instance ;;
"ip "*"route get"*) echo "192.0.2.1 via 10.77.0.1 dev lo src 10.77.0.6" ;;
"rpm "*) [ -e "/host/installed" ] ;;
"modprobe "*) false ;;
"mkfs.ext4 "*indexes*) ;;
"mkfs.ext4 "*) echo ext4 | /bin/dd of="$6" conv=notrunc status=none ;;
"mount "*indexes*) : > /host/mounted-indexes ;;
"mount "*) [ ! -e /host/mount-fails ] && : > /host/mounted ;;
"mountpoint "*indexes*) [ -e /host/mounted-indexes ] ;;
"fallocate "*) : > /var/lib/plexus/indexes.ext4.new ;;
"mountpoint "*) [ -e /host/mounted ] ;;
"dd "*/dev/zero*) : > /swapfile.new ;;
"dd "*) exec /bin/dd "$@" ;;
esac
"""
STOOD_IN = [
    "aws",
    "chattr",
    "curl",
    "dd",
    "dnf",
    "fallocate",
    "ip",
    "mkfs.ext4",
    "mkswap",
    "modprobe",
    "mount",
    "mountpoint",
    "networkctl",
    "resize2fs",
    "rpm",
    "sleep",
    "swapon",
    "systemctl",
    "zramctl",
]


@dataclass
class Instance:
    """One instance of the host; `boot` runs the script as its systemd unit would."""

    engine: Engine
    directory: Path
    image: str
    name: str = field(default_factory=lambda: f"plexus-test-host-{uuid.uuid4().hex[:8]}")

    def start(self, user_data: str, **facts: str) -> None:
        """Start the container; `facts` are files that the stand-ins answer from, `_` for `-`."""
        host = self.directory
        for key, value in {
            "instance": "i-new",
            "interface_holder": "None",
            "volume_holder": "None",
            "disk": "",
            **facts,
        }.items():
            (host / key.replace("_", "-")).write_text(value + "\n" if value else "")
        (host / "user-data").write_text(user_data)
        (host / "stand-in").write_text(STAND_IN)
        self.engine(
            *("run", "--detach", "--rm", "--name", self.name, "--network", "none"),
            *("--volume", f"{host}:/host", self.image, "sleep", "300"),
        )
        links = "; ".join(
            f"install -m 0755 /host/stand-in /usr/local/bin/{name}" for name in STOOD_IN
        )
        self.shell(f"{links}; install -m 0755 /host/user-data /var/lib/part-001")

    def stop(self) -> None:
        """End the container."""
        self.engine("rm", "--force", "--time", "0", self.name)

    def shell(self, command: str) -> str:
        """Output of a command in the container."""
        return self.engine("exec", self.name, "/bin/sh", "-c", command)

    def boot(self, *, unit: bool = True) -> int:
        """Run the user data; its exit status."""
        environment = ("--env", "PLEXUS_UNIT=1") if unit else ()
        done = subprocess.run(
            [self.engine.command, "exec", *environment, self.name, "/var/lib/part-001"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        (self.directory / "output").write_text(done.stdout + done.stderr)
        return done.returncode

    def calls(self, *names: str) -> list[str]:
        """Return what was called since the last look, of these programs or of all."""
        log = self.directory / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if not names or line.split()[0] in names]
