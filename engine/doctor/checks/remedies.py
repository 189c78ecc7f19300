"""What to do, where more than one check says it."""

from __future__ import annotations

from typing import Final

from engine.doctor.machine import Host

WITH_GPUS: Final = (
    "Start the container again with the cards: `docker run --gpus all …`; its host needs the NVIDIA driver and the "
    "NVIDIA Container Toolkit"
)
KERNEL_LOG: Final = "The kernel's log tells more: `sudo dmesg | grep -i nvrm`"
NO_NOUVEAU: Final = (
    "Keep nouveau away and restart: `echo 'blacklist nouveau' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf`, rebuild "
    "the initial RAM disk (`sudo update-initramfs -u` or `sudo dracut --force`), `sudo reboot`"
)


def join_video(host: Host) -> str:
    user = host.user or "$USER"
    return f"Join the group of the device files, usually video, and log in again: `sudo usermod -aG video {user}`"
