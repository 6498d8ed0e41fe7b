"""The tables of a job."""

from __future__ import annotations

from typing import Final

# "Rad6" as a number: what tells a job from other SQLite files.
APPLICATION_ID: Final = 0x52616436
SCHEMA_VERSION: Final = 1

# Series apart: their UIDs would be most of the file. The index finds what is pending without reading what is not.
SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE root (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    study_instance_uid TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    repository_unique_id TEXT NOT NULL,
    home_community_id TEXT NOT NULL,
    study_number INTEGER NOT NULL,
    UNIQUE (study_instance_uid, series_instance_uid, repository_unique_id, home_community_id)
);
CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL REFERENCES series,
    sop_instance_uid TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'refused', 'missing')),
    attempts INTEGER NOT NULL DEFAULT 0,
    root INTEGER REFERENCES root,
    path TEXT,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    sha256 TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    time REAL
);
CREATE INDEX instance_by_state ON instance (state, series);
CREATE TABLE rejected (id INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER, reason TEXT NOT NULL);
CREATE VIEW instances AS
    SELECT study_instance_uid, series_instance_uid, sop_instance_uid, repository_unique_id, home_community_id, state,
           attempts, root.path AS root, instance.path AS path, size_bytes, sha256, error, code, message, time,
           instance.id AS id, series, study_number
    FROM instance JOIN series ON series.id = instance.series LEFT JOIN root ON root.id = instance.root;
"""

#: What tells series apart. One that is kept in two places is two, since no request asks both.
SERIES_KEY: Final = "study_instance_uid, series_instance_uid, repository_unique_id, home_community_id"
