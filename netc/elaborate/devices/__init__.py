"""Elements with a model card, one file a device.

A device becomes branches between its nodes and inner nodes of its own; their laws are templates that all devices of
one form share.  A new device is a file and one line of :data:`DEVICES`.
"""

import netc.parse.ast as ast
from netc.elaborate.context import Context
from netc.elaborate.devices import bipolar, diode, jfet, mosfet, switch
from netc.elaborate.devices.device import Device, PreparedDevice, prepare
from netc.elaborate.scopes import Definition

__all__ = ["DEVICES", "PreparedDevice", "prepare_device"]

DEVICES: dict[str, Device] = {
    "D": diode.DEVICE,
    "J": jfet.DEVICE,
    "M": mosfet.DEVICE,
    "Q": bipolar.DEVICE,
    "S": switch.VOLTAGE_CONTROLLED,
    "W": switch.CURRENT_CONTROLLED,
}
"""Devices by the letter of their elements."""


def prepare_device(context: Context, definition: Definition, card: ast.Device) -> PreparedDevice | None:
    """Return a device's card with its model found, or ``None`` after an error."""
    return prepare(DEVICES, context, definition, card)
