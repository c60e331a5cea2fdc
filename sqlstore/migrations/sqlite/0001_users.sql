-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_users (
	tenant        text NOT NULL,
	id            text NOT NULL,
	email         text NOT NULL,
	full_name     text NOT NULL,
	roles         text NOT NULL,
	disabled      integer NOT NULL,
	password_hash text NOT NULL,
	valid_from    integer NOT NULL,
	created_at    integer NOT NULL,
	updated_at    integer NOT NULL,
	version       integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS authkit_users_email ON authkit_users (tenant, email);
