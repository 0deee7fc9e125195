"""What the driver is asked about cards, with a stand-in for it."""

from fastnn import config
from fastnn.backends import cuda_driver


class Driver:
    """The functions of libcuda that are used; `status` is what they all return."""

    def __init__(self, status: int = 0) -> None:
        self.status = status

    def cuDeviceGetCount(self, count):
        count._obj.value = 2
        return self.status

    def cuDriverGetVersion(self, version):
        version._obj.value = 12090
        return self.status

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal + 40
        return self.status

    def cuDeviceGetName(self, name, size, device):
        name.value = f"Card {device}".encode()
        return self.status

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {16: 132, 75: 9, 76: 0}[attribute]
        return self.status

    def cuDeviceTotalMem_v2(self, size, device):
        size._obj.value = 3 << 33
        return self.status


def test_cards(monkeypatch):
    monkeypatch.setattr(cuda_driver, "_driver", Driver)
    assert cuda_driver.device_count() == 2 and cuda_driver.driver_version() == "12.9"
    first, second = cuda_driver.cards()
    assert str(first) == "Card 40, compute capability 9.0, 132 multiprocessors, 24.0 GiB"
    assert (second.name, second.capability) == ("Card 41", (9, 0))


def test_without_driver(monkeypatch, capsys):
    monkeypatch.setattr(cuda_driver, "_driver", lambda: None)
    assert cuda_driver.device_count() == 0 and cuda_driver.cards() == [] and cuda_driver.driver_version() is None
    config.show_config()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["card", "none"] in lines and ["driver", "none"] in lines


def test_bfloat16_needs_ml_dtypes(monkeypatch, capsys):
    for found, shown in (("0.5.4", "0.5.4"), (None, "none: `pip install ml_dtypes` provides bfloat16")):
        monkeypatch.setattr(cuda_driver, "version", lambda package, found=found: found)
        config.show_config()
        assert f"ml_dtypes {shown}" in [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_driver_that_fails(monkeypatch):
    """A driver without devices is no reason to fail."""
    monkeypatch.setattr(cuda_driver, "_driver", lambda: Driver(status=100))
    assert cuda_driver.cards() == []
