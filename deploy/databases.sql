-- Beside the lake's catalog: Dagster's runs and events.
CREATE DATABASE cellfleet_dagster OWNER cellfleet;
