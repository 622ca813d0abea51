"""What a pod does before it stops: its gateway is told to drain, and this process waits for the answer."""

import urllib.error
import urllib.request

from pagoda_server.settings import DrainSettings

SLACK_SECONDS = 10


def run_drain(settings: DrainSettings) -> int:
    """Returns 1 when the gateway refuses. One that is not there has nothing to drain."""
    url = f"{settings.admin}/drain?seconds={settings.seconds:g}"
    request = urllib.request.Request(url, method="POST", headers={"X-Pagoda-Admin": "1"})
    try:
        with urllib.request.urlopen(request, timeout=settings.seconds + SLACK_SECONDS):
            print("drained")
            return 0
    except urllib.error.HTTPError as error:
        with error:
            print(f"the gateway at {settings.admin} answered {error.code} to the drain")
        return 1
    except OSError as error:
        print(f"the gateway at {settings.admin} is not reachable, nothing to drain: {error}")
        return 0
