"""Alerts: new signals leave by webhook or e-mail, one message for all that wait, at most so many an hour.

Belongs here: grouping, limiting, sending, and remembering what was told. Does not belong here: what a signal is
(`warehouse/marts/signals.py`), where to send (`warehouse/settings.py`).

What was sent is an act on each signal, so nothing is told twice, whichever process sends. A message that cannot be sent
changes nothing and is tried again at the next tick. Messages name site, batch and attribute, never a patient.
"""

import json
import smtplib
import uuid
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import dagster as dg
import httpx

from warehouse import acts, lake, logs
from warehouse.marts.signals import open_signals
from warehouse.settings import Settings, settings

SECONDS = 10
SHOWN = 20


class AlertError(RuntimeError):
    """An alert could not be sent; it will be tried again."""


def send(chosen: Settings) -> str:
    """Send one message about every signal that waits; returns what was done, or why nothing was.

    Raises AlertError where a channel refuses or cannot be reached.
    """
    if not chosen.alert_webhook and not (chosen.alert_smtp and chosen.alert_to):
        return "No channel: set CELLFLEET_ALERT_WEBHOOK, or CELLFLEET_ALERT_SMTP and CELLFLEET_ALERT_TO."
    with lake.opened(chosen) as con:
        told = acts.of(con, "signal_act")
        waiting = list(open_signals(told))
        if not waiting:
            return "No new signal."
        since = datetime.now(UTC) - timedelta(hours=1)
        sent = {a["run_id"] for a in told if a["act"] == "alerted" and a["recorded_at"] > since}
        if len(sent) >= int(chosen.alerts_per_hour):
            return f"{len(waiting)} signals wait: {len(sent)} messages left in the last hour, which is the limit."
        message_id = f"alert-{uuid.uuid4().hex[:12]}"
        message = worded(waiting, chosen)
        _leave(chosen, message | {"message_id": message_id})
        acts.add(
            con,
            "signal_act",
            [a | {"act": "alerted", "acted_by_role": "cellfleet", "run_id": message_id} for a in waiting],
            f"alert of {len(waiting)} signals",
        )
    logs.logger(chosen).info("alert sent", run_id=message_id, findings=len(waiting))
    return f"Told of {len(waiting)} signals in one message."


def _leave(chosen: Settings, message: dict[str, Any]) -> None:
    """Send by every channel that is set. One that took it is enough: a second message would tell the same twice."""
    channels = {"webhook": _post if chosen.alert_webhook else None}
    channels["mail"] = _mail if chosen.alert_smtp and chosen.alert_to else None
    problems: list[AlertError] = []
    used = [channel for channel in channels.values() if channel is not None]
    for channel in used:
        try:
            channel(chosen, message)
        except AlertError as error:
            problems.append(error)
            logs.logger(chosen).warning("alert not sent", problem=str(error))
    if len(problems) == len(used):
        raise problems[0]


def worded(waiting: list[dict[str, Any]], chosen: Settings) -> dict[str, Any]:
    """One message about several signals, grouped by site."""
    sites: dict[str, list[dict[str, Any]]] = {}
    for act in sorted(waiting, key=lambda a: (a["site_id"], a["first_at"], a["signal_id"])):
        sites.setdefault(act["site_id"], []).append(act)
    lines: list[str] = []
    for site, told in sites.items():
        lines.append(f"{site}: {len(told)}")
        lines += [f"  {a['signal_id']}  {a['detail']}" for a in told[:SHOWN]]
        if len(told) > SHOWN:
            lines.append(f"  and {len(told) - SHOWN} more: `cellfleet signals list --site {site}`")
    count = len(waiting)
    place = chosen.dashboards_url or f"http://{chosen.dashboards_host}:{chosen.dashboards_port}"
    return {
        "subject": f"cellfleet: {count} new signal{'s' if count > 1 else ''} at {', '.join(sites)}",
        "text": "\n".join([*lines, "", f"See {place}, or `cellfleet signals list`."]),
        "signals": [
            {
                k: str(a[k])
                for k in ("signal_id", "site_id", "signal_kind", "subject", "severity", "detail", "first_at")
            }
            for a in waiting
        ],
    }


def _post(chosen: Settings, message: dict[str, Any]) -> None:
    url = chosen.alert_webhook
    try:
        answer = httpx.post(
            url, content=json.dumps(message), headers={"content-type": "application/json"}, timeout=SECONDS
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        host = urlsplit(url).hostname
        raise AlertError(f"The webhook at {host} did not take the alert: {error}") from error


def _mail(chosen: Settings, message: dict[str, Any]) -> None:
    server = urlsplit(chosen.alert_smtp if "://" in chosen.alert_smtp else f"smtp://{chosen.alert_smtp}")
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message["subject"], chosen.alert_from, chosen.alert_to
    mail.set_content(message["text"])
    kind = smtplib.SMTP_SSL if server.scheme == "smtps" else smtplib.SMTP
    try:
        with kind(server.hostname or "", server.port or 0, timeout=SECONDS) as connection:
            if server.scheme == "smtp+starttls":
                connection.starttls()
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:
        raise AlertError(f"The mail server {server.hostname} did not take the alert: {error}") from error


def alert_definitions() -> dg.Definitions:
    """The sensor that looks for signals nobody has been told of."""

    @dg.sensor(
        name="alerts",
        description="Tells of new signals by webhook or e-mail: one message for all that wait, so many an hour.",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        # No run is requested: the message itself is what is done, and its acts in the lake are the cursor.
        return dg.SkipReason(send(settings()))

    return dg.Definitions(sensors=[alerts])
