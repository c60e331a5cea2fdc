-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_users (
	tenant        text COLLATE "C" NOT NULL,
	id            text COLLATE "C" NOT NULL,
	email         text COLLATE "C" NOT NULL,
	full_name     text NOT NULL,
	roles         text NOT NULL,
	disabled      boolean NOT NULL,
	password_hash text COLLATE "C" NOT NULL,
	valid_from    bigint NOT NULL,
	created_at    bigint NOT NULL,
	updated_at    bigint NOT NULL,
	version       bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS authkit_users_email ON authkit_users (tenant, email);
