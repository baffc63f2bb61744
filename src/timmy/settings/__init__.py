"""What the operator has decided. Every setting has a name, a kind, a default and a reason, in one table.

This room promises that a house that starts was told nothing contradictory: whatever cannot be understood stops the start with a
sentence that names the variable and what it may be, and never with a secret in it. Nothing else in Timmy reads the environment.
"""

from timmy.settings.kinds import Secret, TokenPrices, mask_password
from timmy.settings.sources import SettingsError
from timmy.settings.spec import SettingRow
from timmy.settings.table import PRICE_SOURCES, Settings

__all__ = ["PRICE_SOURCES", "Secret", "SettingRow", "Settings", "SettingsError", "TokenPrices", "mask_password"]
