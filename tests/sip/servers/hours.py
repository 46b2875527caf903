"""Office hours, as the applications here decide on them."""
import datetime
import zoneinfo

OFFICE_ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
OPENS, CLOSES = datetime.time(9), datetime.time(17)
SATURDAY = 5

# Instants at which the office is open, and not.
TUESDAY_MORNING = datetime.datetime(2026, 3, 10, 10, 30, tzinfo=OFFICE_ZONE)
SUNDAY_MORNING = datetime.datetime(2026, 3, 15, 10, 30, tzinfo=OFFICE_ZONE)


def is_open(now):
    here = now.astimezone(OFFICE_ZONE)
    return here.weekday() < SATURDAY and OPENS <= here.time() < CLOSES
