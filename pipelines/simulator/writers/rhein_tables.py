"""The columns, codes and words of rhein's CSV exports, in German.

Belongs here: names and how single values are printed. Does not belong here: the files (rhein.py).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pipelines.simulator.world import Row

from .common import Assay, Column, local, number, result_text, text, words

TZ = "Europe/Berlin"

# fmt: off
ASSAYS = {
    "VIAB": Assay("Vitalität", "Trypanblau", "1", 4, 0.01), "CD3": Assay("CD3", "Durchfluss", "1", 4, 0.01),
    "CAR": Assay("CAR", "Durchfluss", "1", 4, 0.01), "VCN": Assay("VCN", "ddPCR je Zelle", "Kopien/Zelle", 2),
    "CD4CD8": Assay("CD4/CD8", "Durchfluss", "1", 2), "IFNG": Assay("IFN-g", "ELISA", "pg/mL", 0),
    "KILL": Assay("Zytotoxizität", "Durchfluss", "1", 4, 0.01), "ENDO": Assay("Endotoxin", "LAL", "IE/mL", 2),
    "STER": Assay("Sterilität", "Kultur", "", 0), "MYCO": Assay("Mykoplasmen", "PCR", "", 0),
    "RCL": Assay("RCL", "PCR", "", 0), "BEADS": Assay("Beads", "Perlenzählung", "Beads/3e6 Zellen", 0),
    "TVC": Assay("Gesamtzellen", "Zählkammer", "Zellen", 0), "TVCAR": Assay("CAR-Zellen", "Durchfluss",
    "Zellen", 0),
    "FOLD": Assay("Expansion", "Zählkammer", "fach", 1),
}
RETIRED = "Vitalität_alt"
_RESULT_WORDS = {"negative": "negativ", "positive": "positiv"}


def _time(value: datetime | None) -> str:
    return "" if value is None else f"{local(value, TZ)[0]:%d.%m.%Y %H:%M}"


def _day(value: date | None) -> str:
    return "" if value is None else f"{value:%d.%m.%Y}"


_yes = words({True: "ja", False: "nein"})


def shown_result(row: Row) -> str:
    """The text in the column Ergebnis."""
    shown = result_text(ASSAYS[row["test"]], row, comma=True)
    return _RESULT_WORDS.get(shown, shown)


def _limit(side: str) -> Any:
    def show(row: Row) -> str:
        assay = ASSAYS[row["test"]]
        value = row[side]
        return "" if value is None else f"{value * assay.factor:.10g}".replace(".", ",")

    return show


def _of(part: str) -> Any:
    return lambda r: getattr(ASSAYS[r["test"]], part)


_DISPOSITION = words({"released": "freigegeben", "rejected": "gesperrt", "pending": "offen",
                      "oos_released": "OOS-freigegeben"})
_POINT = words({"ipc_d5": "IPK Tag 5", "harvest": "Ernte", "release": "Freigabe",
"post_release": "nach Freigabe"})
_STAGE = words({"ipc": "IPK", "release": "Freigabe", "post_release": "nach Freigabe"})
_MODIFIED: Column = ("Geändert am", "modified", _time)
FEEDS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "order": ("auftrag", (
        ("Auftrag-Nr", "order_id", text), ("Fallnummer", "mrn", text), ("Name", "name", text),
        ("Geburtsdatum", "dob", _day), ("Geschlecht", "sex", words({"M": "m", "F": "w"})),
        ("Diagnose", "dx", text),
        ("Vortherapien", "prior_lines", text), ("Bendamustin_180T", "benda", _yes), ("ECOG", "ecog", text),
        ("LDH", "ldh", words({"N": "normal", "H": "erhöht", "VH": "stark erhöht"})),
        ("Produkt", "product", text),
        ("CoI", "coi", text), ("Slot", "slot", _day), ("Bestellt am", "ordered_at", _time),
        ("Status", "status", words({"open": "offen", "done": "erledigt", "withdrawn": "zurückgezogen",
                                    "died": "verstorben"})),
        ("Bemerkung", "comment", text), _MODIFIED)),
    "collection": ("entnahme", (
        ("Entnahme-Nr", "collection_id", text), ("Auftrag-Nr", "order_id", text), ("DIN", "din", text),
        ("Beginn", "start", _time), ("Ende", "end", _time), ("TNC [10^9]", "tnc", number(2, comma=True)),
        ("CD3 [10^9]", "cd3", number(2, comma=True)),
        ("CD3-Anteil", "cd3_pct", number(3, comma=True, factor=0.01)),
        ("Volumen [mL]", "volume_ml", number(0)), ("TBV [L]", "tbv_l", number(1, comma=True)),
        ("Antikoagulans", "anticoagulant", text), _MODIFIED)),
    "batch": ("charge", (
        ("Charge", "batch_id", text), ("Auftrag-Nr", "order_id", text), ("Produkt", "product", text),
        ("Raum", "suite", text), ("Vorschrift", "protocol", text), ("Versuch", "attempt", text),
        ("Status", "status", words({"in_process": "laufend", "complete": "abgeschlossen",
                                    "terminated": "abgebrochen"})),
        ("Beginn", "started", _time), ("Ernte", "harvested", _time), ("Formulierung", "formulated", _time),
        ("Entscheid", "disposition", _DISPOSITION), ("Abbruchgrund", "cause", text), _MODIFIED)),
    "sample": ("probe", (
        ("Probe", "sample_id", text), ("Charge", "batch_id", text), ("Zeitpunkt der Probe", "point", _POINT),
        ("Entnommen am", "taken_at", _time), _MODIFIED)),
    "assay": ("messwerte", (
        ("Ergebnis-Nr", "result_id", text), ("Probe", "sample_id", text), ("Charge", "batch_id", text),
        ("Prüfung", "*", lambda r: r.get("raw_test") or ASSAYS[r["test"]].code),
        ("Methode", "*", _of("method")),
        ("Labor", "lab", words({"qc": "QK-Labor", "external": "extern"})), ("Ergebnis", "*", shown_result),
        ("Einheit", "*", lambda r: r.get("raw_unit") or ASSAYS[r["test"]].unit),
        ("Wiederholung", "replicate", text),
        ("Prüferrolle", "role", text),
        ("Gemessen am", "result_at", _time), _MODIFIED, ("Grund", "reason", text))),
    "study": ("studie", (
        ("Ergebnis-Nr", "result_id", text), ("Studie", "study", text),
        ("Arm", "arm", words({"split": "geteilt", "historical": "historisch"})), ("Spender", "donor", text),
        ("Los", "lot", text), ("Prüfung", "*", lambda r: ASSAYS[r["test"]].code), ("Methode", "*", _of("method")),
        ("Labor", "lab", words({"qc": "QK-Labor", "external": "extern"})), ("Ergebnis", "*", shown_result),
        ("Einheit", "*", lambda r: ASSAYS[r["test"]].unit), ("Wiederholung", "replicate", text),
        ("Gemessen am", "result_at", _time), _MODIFIED)),
    "reagent_lot": ("reagenzlos", (
        ("Los", "lot_id", text),
        ("Material", "material", words({"vector": "Vektor", "activation_reagent": "Aktivierung",
        "medium": "Medium",
                                        "cytokine": "Zytokin", "bag_set": "Beutelset"})),
        ("Lieferant", "supplier", text), ("GTIN", "gtin", text), ("Eingang", "received", _day),
        ("Verfall", "expires", _day), ("Menge", "qty", number(1, comma=True)), ("Titer", "titre", number(0)),
        ("Status", "status", words({"released": "freigegeben"})), _MODIFIED)),
    "equipment": ("geraet", (
        ("Gerät", "equipment_id", text), ("Modell", "model", text), ("Seriennummer", "serial", text),
        ("Firmware", "firmware", text), ("Qualifizierung bis", "qualification_due", _day), _MODIFIED)),
    "deviation": ("abweichung", (
        ("Abweichung", "deviation_id", text), ("Charge", "batch_id", text),
        ("Klasse", "klass", words({"minor": "gering", "major": "schwer", "critical": "kritisch"})),
        ("Ursache", "cause", text), ("Eröffnet", "opened", _time),
        ("Geschlossen", "closed", _time), _MODIFIED)),
    "specification": ("spezifikation", (
        ("Spezifikation", "spec_id", text), ("Produkt", "product", text), ("Version", "version", text),
        ("Gültig ab", "effective_from", _day), ("Gültig bis", "effective_to", _day),
        ("Freigegeben durch", "approved_by", text), _MODIFIED)),
    "spec_limit": ("grenzwert", (
        ("Spezifikation", "spec_id", text), ("Version", "version", text), ("Prüfung", "*", _of("code")),
        ("Methode", "*", _of("method")), ("Unten", "*", _limit("low")), ("Oben", "*", _limit("high")),
        ("Einschließlich", "inclusive", _yes), ("Stufe", "stage", _STAGE), ("Sperrend", "blocking", _yes),
        ("Einheit", "*", _of("unit")), _MODIFIED)),
    "release": ("freigabe", (
        ("Freigabe-Nr", "release_id", text), ("Charge", "batch_id", text),
        ("Entscheid", "decision", words({"released": "freigegeben", "rejected": "gesperrt",
                                         "conditional": "bedingt"})),
        ("Spezifikation", "spec_id", text), ("Version", "spec_version", text), ("Rolle", "role", text),
        ("Unterschrieben am", "signed_at", _time), ("Bedingung", "condition", text), _MODIFIED)),
    "custody": ("uebergabe", (
        ("Ereignis", "event_id", text), ("CoI", "coi", text), ("Objekt", "object", text),
        ("Art", "kind", text),
        ("Von", "giver", text), ("An", "taker", text), ("Ort", "place", text),
        ("Zeitpunkt", "happened_at", _time),
        ("Vier-Augen", "verified", _yes), ("Temperatur [°C]", "temp_c", number(1, comma=True)),
        ("Lfd", "seq", text),
        _MODIFIED)),
    "infusion": ("infusion", (
        ("Infusion", "infusion_id", text), ("Auftrag-Nr", "order_id", text), ("Charge", "batch_id", text),
        ("Zeitpunkt", "infused_at", _time), ("CAR+ vital [10^6]", "dose_e6", number(1, comma=True)),
        ("je kg [10^6]", "per_kg_e6", number(2, comma=True)), ("Beutel", "bags", text), ("OOS", "oos", _yes),
        _MODIFIED)),
    "outcome": ("verlauf", (
        ("Verlauf-Nr", "outcome_id", text), ("Infusion", "infusion_id", text),
        ("Endpunkt", "endpoint", words({"crs": "CRS", "icans": "ICANS", "response": "Ansprechen",
                                        "relapse": "Rezidiv", "survival": "Überleben"})),
        ("Tag", "day", text), ("Wert", "value", words({"alive": "lebt", "dead": "verstorben", "yes": "ja"})),
        ("Zensiert", "censored", _yes), _MODIFIED)),
    "change_control": ("aenderung", (
        ("Änderung", "change_id", text),
        ("Gegenstand", "kind", words({"process": "Verfahren", "specification": "Spezifikation", "method": "Methode",
                                      "supplier": "Lieferant"})),
        ("Betrifft", "affects", text), ("Bisher", "before", text), ("Künftig", "after", text),
        ("Stand", "status", words({"open": "offen", "approved": "genehmigt", "implemented": "umgesetzt",
                                   "closed": "geschlossen"})),
        ("Eröffnet", "opened", _time), ("Umgesetzt", "implemented", _time), ("Geschlossen", "closed", _time),
        ("Genehmigt durch", "role", text), _MODIFIED)),
    "screening": ("screening", (
        ("Eintrag", "screening_id", text), ("Programm", "program_id", text), ("Fallnummer", "mrn", text),
        ("Stufe", "stage", words({"referred": "überwiesen", "screened": "gescreent", "eligible": "geeignet",
                                  "enrolled": "eingeschlossen", "failed": "nicht eingeschlossen"})),
        ("Grund", "reason", words({"not_eligible": "Kriterien", "progression": "Progress", "no_slot": "kein Platz",
                                   "declined": "abgelehnt", "administrative": "Verwaltung"})),
        ("Am", "at", _time), _MODIFIED)),
}
