# shellcheck shell=bash
# Makes a fresh Amazon Linux 2023 instance the mail host: its address, its volume, ECS.
#
# EC2 runs this as user data at the first boot, with the stack's values in variables above it. It
# installs itself as a systemd unit and does its work from there, so that a reboot does it again:
# each step looks first whether it is done. The unit is repeated until it succeeds, and ECS starts
# only after it: no container runs without the address, or writes where the volume should be.
#
# DIAGNOSTICS: journalctl -u plexus-boot; the instance's console output shows the same.
set -euo pipefail

readonly SELF=/usr/local/sbin/plexus-boot
readonly STATE=${PLEXUS_STATE:-/var/lib/plexus}
readonly DEVICE_PREFIX=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_

say() { echo "plexus-boot: $*"; }

install_unit() {
    install -m 0700 "$0" "$SELF"
    cat > /etc/systemd/system/plexus-boot.service << UNIT
[Unit]
Description=Postal Plexus: address, volume and settings of the mail host
After=network-online.target cloud-init.service
Wants=network-online.target
Before=ecs.service

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=PLEXUS_UNIT=1
ExecStart=$SELF
Restart=on-failure
RestartSec=15
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
UNIT
    mkdir -p /etc/systemd/system/ecs.service.d
    cat > /etc/systemd/system/ecs.service.d/plexus.conf << UNIT
[Unit]
Requires=plexus-boot.service
After=plexus-boot.service
RequiresMountsFor=$STATE
UNIT
    systemctl daemon-reload
    systemctl enable plexus-boot.service
    systemctl start --no-block plexus-boot.service
}

# Half a gigabyte of memory: package installation alone needs more.
make_swap() {
    if [ ! -e /swapfile ]; then
        dd if=/dev/zero of=/swapfile.new bs=1M count=1024 status=none
        chmod 0600 /swapfile.new
        mkswap /swapfile.new > /dev/null
        mv /swapfile.new /swapfile
    fi
    swapon --show=NAME --noheadings | grep -qx /swapfile || swapon --priority 1 /swapfile
    # Compressed memory first, disk after it; a kernel without zram does with the disk alone.
    if modprobe zram 2> /dev/null && ! swapon --show=NAME --noheadings | grep -q zram; then
        if device=$(zramctl --find --size 256M 2> /dev/null); then
            mkswap "$device" > /dev/null && swapon --priority 100 "$device"
        fi
    fi
    # The default, 60, is no reason to stop.
    { echo 80 > /proc/sys/vm/swappiness; } 2> /dev/null || say "cannot set vm.swappiness"
}

# Each client in IDLE takes one of these, and each busy one three. Where none is left Dovecot looks for new mail every
# 30 s, and clients keep their processes, so that others find none. The default, 128, is reached with 50 clients.
# They take memory only when used, so the number is for the largest host.
raise_watches() {
    { echo 16384 > /proc/sys/fs/inotify/max_user_instances; } 2> /dev/null ||
        say "cannot set fs.inotify.max_user_instances: more than 50 clients in IDLE hear late of mail"
}

install_packages() {
    # The last ones are on AWS's images as a rule; what follows cannot do without them.
    local wanted=(amazon-efs-utils awscli-2 ecs-init amazon-ec2-net-utils e2fsprogs iproute)
    [ "$PLEXUS_SSM_ACCESS" = no ] || wanted+=(amazon-ssm-agent)
    local missing=()
    local package
    for package in "${wanted[@]}"; do
        rpm --quiet --query "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] || dnf --assumeyes --quiet --setopt=install_weak_deps=False \
        install "${missing[@]}"
}

metadata() {
    local token
    token=$(curl --silent --show-error --fail --max-time 5 --request PUT \
        --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
    curl --silent --show-error --fail --max-time 5 --header "X-aws-ec2-metadata-token: $token" \
        "http://169.254.169.254/latest/meta-data/$1"
}

# Dual-stack endpoints: before the ENI is here, IPv6 is the only way out where EC2 has them.
ec2() { AWS_USE_DUALSTACK_ENDPOINT=$PLEXUS_IPV6 aws ec2 --region "$PLEXUS_REGION" --output text "$@"; }

# What the address or the volume hangs on now; "None" when it is free.
holder_of_interface() {
    ec2 describe-network-interfaces --network-interface-ids "$PLEXUS_INTERFACE" \
        --query 'NetworkInterfaces[0].Attachment.InstanceId'
}
holder_of_volume() {
    ec2 describe-volumes --volume-ids "$PLEXUS_VOLUME" \
        --query 'Volumes[0].Attachments[0].InstanceId'
}

take_interface_away() {
    local attachment
    attachment=$(ec2 describe-network-interfaces --network-interface-ids "$PLEXUS_INTERFACE" \
        --query 'NetworkInterfaces[0].Attachment.AttachmentId')
    ec2 detach-network-interface --force --attachment-id "$attachment" > /dev/null
}
take_volume_away() { ec2 detach-volume --force --volume-id "$PLEXUS_VOLUME" > /dev/null; }

# A predecessor that is shutting down lets go by itself. One that does not within two minutes is
# dead or out of reach, and the group has already replaced it: there is never a second live one.
# It loses both at once: with the volume alone it would go on writing where nobody can reach it.
wait_until_free() {
    local instance=$1
    local interface volume tries=0
    while interface=$(holder_of_interface) && volume=$(holder_of_volume); do
        case $interface in None | "$instance") interface= ;; esac
        case $volume in None | "$instance") volume= ;; esac
        [ -n "$interface$volume" ] || return 0
        tries=$((tries + 1))
        if [ $tries -eq 12 ]; then
            say "${interface:-$volume} does not let go, taking address and volume away"
            [ -z "$volume" ] || take_volume_away
            [ -z "$interface" ] || take_interface_away
        fi
        [ $tries -lt 60 ] || break
        sleep 10
    done
    return 1
}

# Try every two seconds, this number of times.
await() {
    local tries=$1
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 2
    done
}

# All that leaves the host goes out where its address is, replies from the containers too: the
# first interface has no public IPv4 address, and nobody knows its IPv6 one. networkd sets these
# routes, since it takes away what others set, whenever net-utils writes its own files and has it
# reload. Those are called 70-...: this one comes first, so they do not apply to the address.
# https://github.com/amazonlinux/amazon-ec2-net-utils/issues/167
configure_network() {
    local mac=$1 file=/etc/systemd/network/05-plexus.network
    mkdir -p /etc/systemd/network
    cat > "$file.new" << FILE
[Match]
MACAddress=$mac

[Link]
MTUBytes=9001

[Network]
DHCP=yes
IPv6DuplicateAddressDetection=0

[DHCPv4]
RouteMetric=10
UseHostname=no

[DHCPv6]
UseHostname=no
WithoutRA=solicit

[IPv6AcceptRA]
RouteMetric=10
FILE
    mv "$file.new" "$file"
    networkctl reload
}

# Before it is attached: the interface is never up without its file.
attach_interface() {
    local instance=$1 mac
    mac=$(ec2 describe-network-interfaces --network-interface-ids "$PLEXUS_INTERFACE" \
        --query 'NetworkInterfaces[0].MacAddress')
    configure_network "$mac"
    if [ "$(holder_of_interface)" = None ]; then
        ec2 attach-network-interface --network-interface-id "$PLEXUS_INTERFACE" \
            --instance-id "$instance" --device-index 1 > /dev/null
    fi
    await 30 is_here "$mac"
    local link
    link=$(link_of "$mac")
    say "address: $PLEXUS_INTERFACE on $link"
    if ! await 60 leads_out -4 "$link"; then
        say "no IPv4 route by $link"
        return 1
    fi
    await 15 leads_out -6 "$link" || say "no IPv6 route by $link: clients have IPv4 only"
    if ! await 30 reaches_ecs; then
        say "ECS does not answer by way of $link"
        return 1
    fi
}
link_of() {
    local file
    file=$(grep --fixed-strings --ignore-case --line-regexp --files-with-matches "$1" \
        /sys/class/net/*/address) && basename "${file%/address}"
}
is_here() { link_of "$1" > /dev/null; }
# What networkd prefers is what the kernel takes: asked with an address that nobody has.
leads_out() {
    local anywhere=192.0.2.1
    [ "$1" = -4 ] || anywhere=2001:db8::1
    [[ "$(ip "$1" -oneline route get "$anywhere" 2> /dev/null) " = *" dev $2 "* ]]
}
# The first interface has no way there by IPv4, except where EC2's API needs it.
reaches_ecs() {
    curl --ipv4 --silent --output /dev/null --max-time 5 "https://ecs.$PLEXUS_REGION.amazonaws.com/ping"
}

attach_volume() {
    local instance=$1
    # The directory under an unmounted mount point must not take anything.
    mkdir -p "$STATE"
    mountpoint --quiet "$STATE" || chattr +i "$STATE"
    if [ "$(holder_of_volume)" = None ]; then
        ec2 attach-volume --volume-id "$PLEXUS_VOLUME" --instance-id "$instance" \
            --device /dev/sdf > /dev/null
    fi
    local device="$DEVICE_PREFIX${PLEXUS_VOLUME/-/}"
    await 60 test -e "$device"
    if ! mountpoint --quiet "$STATE"; then
        if is_new "$device"; then
            say "volume: $PLEXUS_VOLUME is new, formatting it"
            # Who writes there is not root, so nothing is kept for root.
            mkfs.ext4 -q -m 0 -L plexus-state "$device"
        fi
        if ! mount -o noatime,nodev,nosuid,noexec "$device" "$STATE"; then
            say "$PLEXUS_VOLUME is not empty, and cannot be mounted. It may hold mail, so it is left" \
                "as it is: restore its last snapshot, or run e2fsck on a copy of it"
            return 1
        fi
    fi
    # The stack may have given it more room.
    resize2fs "$device"
    say "volume: $PLEXUS_VOLUME on $STATE"
}
# EBS gives out a volume that reads as zeros. One with a block that cannot be read is not new, nor
# is one that still has ext4's second superblock, at 128 MiB.
is_new() {
    local zeros found offset
    zeros=$(head --bytes=1M /dev/zero | sha256sum)
    for offset in 0 128; do
        found=$(dd if="$1" bs=1M count=1 skip=$offset iflag=fullblock status=none | sha256sum) ||
            return 1
        [ "$found" = "$zeros" ] || return 1
    done
}

# The indexes of mailboxes get a file system of their own in a file, which has all its room from the
# start: however they grow, the queue on the same volume keeps its space.
mount_indexes() {
    local image=$STATE/indexes.ext4 place=$STATE/indexes
    mkdir -p "$place"
    ! mountpoint --quiet "$place" || return 0
    chattr +i "$place"
    if [ ! -e "$image" ]; then
        rm -f "$image.new"
        fallocate --length "$PLEXUS_INDEXES_SIZE" "$image.new"
        # Discarding would give the room back. Many small files: an inode for each 8 KB, twice as many as
        # by default.
        mkfs.ext4 -q -E nodiscard -m 0 -i 8192 -L plexus-indexes "$image.new"
        mv "$image.new" "$image"
    elif [ "$(stat --format=%s "$image")" -lt "$(numfmt --from=iec "$PLEXUS_INDEXES_SIZE")" ]; then
        fallocate --length "$PLEXUS_INDEXES_SIZE" "$image"
        # 1: it had something to mend, and did.
        e2fsck -f -p "$image" || [ $? -eq 1 ]
        resize2fs "$image"
    fi
    mount -o loop,noatime,nodev,nosuid,noexec "$image" "$place"
    say "indexes: $PLEXUS_INDEXES_SIZE on $place"
}

make_directories() {
    local path uid gid mode
    while read -r path uid gid mode; do
        mkdir -p "$path"
        chown "$uid:$gid" "$path"
        chmod "$mode" "$path"
    done <<< "$PLEXUS_DIRECTORIES"
    # Sockets of the last life are no use, and a container must not wait for them.
    find "$STATE/run" -type s -delete
}

# Read only when Docker starts, and on the ECS-optimised image it runs already.
configure_docker() {
    local file=/etc/docker/daemon.json
    mkdir -p /etc/docker
    # IPv6 through to the containers, so that they see who connects; no proxy process for each port.
    cat > "$file.new" << 'JSON'
{
  "experimental": true,
  "fixed-cidr-v6": "fd70:6c65:7875:7300::/64",
  "ip6tables": true,
  "ipv6": true,
  "live-restore": true,
  "userland-proxy": false
}
JSON
    if [ "$(cat "$file" 2> /dev/null)" = "$(cat "$file.new")" ]; then
        rm "$file.new"
    else
        # In this order, and again if it is cut short: stopped, it starts with the file.
        systemctl stop docker.service docker.socket 2> /dev/null || true
        mv "$file.new" "$file"
    fi
}

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
# `once` pulls what this host never had; with `prefer-cached` the agent would not clean up images.
configure_ecs() {
    mkdir -p /etc/ecs
    cat > /etc/ecs/ecs.config << CONFIG
ECS_CLUSTER=$PLEXUS_CLUSTER
ECS_AVAILABLE_LOGGING_DRIVERS=["awslogs","json-file"]
ECS_CONTAINER_STOP_TIMEOUT=90s
ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
ECS_ENABLE_TASK_IAM_ROLE=true
ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=10m
ECS_IMAGE_CLEANUP_INTERVAL=10m
ECS_IMAGE_MINIMUM_CLEANUP_AGE=10m
ECS_IMAGE_PULL_BEHAVIOR=once
ECS_RESERVED_MEMORY=128
ECS_DISABLE_PRIVILEGED=true
CONFIG
}

start_services() {
    systemctl enable --now docker.service
    systemctl enable --now amazon-ecs-volume-plugin.service
    [ "$PLEXUS_SSM_ACCESS" = no ] || systemctl enable --now amazon-ssm-agent.service
    systemctl enable ecs.service
    # It waits for this unit, so this unit must not wait for it.
    systemctl start --no-block ecs.service
}

# Sourced, as by a test, the script only defines its functions.
[ "${BASH_SOURCE[0]}" = "$0" ] || return 0

if [ -z "${PLEXUS_UNIT:-}" ]; then
    install_unit
    exit 0
fi

make_swap
raise_watches
install_packages
instance=$(metadata instance-id)
wait_until_free "$instance"
attach_interface "$instance"
attach_volume "$instance"
mount_indexes
make_directories
configure_docker
configure_ecs
start_services
say "ready"
