"""A mail host that is a container: the boot script runs in Debian with stand-ins for AWS and kernel.

The stand-ins are one small shell script under many names. It writes each call to a log and answers
from files, so that a test can say who holds the address, whether the disk is blank, and whether a
mount works; attaching makes the device appear and changes who holds it, as EC2 would.
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
        : > /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123
    fi ;;
"aws "*detach-volume*) echo None > /host/volume-holder ;;
"aws "*Attachment.InstanceId*) fact interface-holder ;;
"aws "*Attachment.AttachmentId*) echo eni-attach-1 ;;
"aws "*MacAddress*) echo 02:00:00:00:00:02 ;;
"aws "*Attachments*InstanceId*) fact volume-holder ;;
"curl "*api/token*) echo token ;;
"curl "*instance-id*) fact instance ;;
"ip --brief link"*) echo "ens5 UP 02:00:00:00:00:01 <UP>"; echo "ens6 UP 02:00:00:00:00:02 <UP>" ;;
"ip -4 route show"*) echo "default via 10.77.0.1 dev ens6" ;;
"ip -6 route show"*) echo "default via fe80::1 dev ens6 proto ra" ;;
"rpm "*) [ -e "/host/installed" ] ;;
"modprobe "*) false ;;
"blkid "*) fact disk-type ;;
"mkfs.ext4 "*indexes*) ;;
"mkfs.ext4 "*) echo ext4 > /host/disk-type ;;
"mount "*indexes*) : > /host/mounted-indexes ;;
"mount "*) [ ! -e /host/mount-fails ] && : > /host/mounted ;;
"mountpoint "*indexes*) [ -e /host/mounted-indexes ] ;;
"fallocate "*) : > /var/lib/plexus/indexes.ext4.new ;;
"mountpoint "*) [ -e /host/mounted ] ;;
"dd "*) : > /swapfile.new ;;
esac
"""
STOOD_IN = [
    "aws",
    "blkid",
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
    "resize2fs",
    "rpm",
    "sleep",
    "swapon",
    "sysctl",
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
            "disk_type": "",
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
        """What was called since the last look, of these programs or of all."""
        log = self.directory / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if not names or line.split()[0] in names]
