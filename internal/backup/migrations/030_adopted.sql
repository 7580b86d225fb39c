-- +goose Up
-- Maintenance keys of vaults that another catalog made: they do not derive from this one's root key. Sealed.
CREATE TABLE adopted_key (
    repository TEXT NOT NULL PRIMARY KEY,
    sealed     BLOB NOT NULL
);
