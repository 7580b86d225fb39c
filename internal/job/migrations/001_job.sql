-- +goose Up
CREATE TABLE job (
    kind        TEXT   NOT NULL,
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    state       TEXT   NOT NULL, -- ready | leased | failed; a finished job has no row
    not_before  BIGINT NOT NULL,
    owner       TEXT   NOT NULL,
    fence       BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    cancel      BIGINT NOT NULL,
    last_error  TEXT   NOT NULL,
    created     BIGINT NOT NULL,
    PRIMARY KEY (kind, account, id)
);
CREATE INDEX job_ready ON job (kind, state, not_before);
CREATE INDEX job_leased ON job (state, lease_until);
