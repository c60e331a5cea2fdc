-- +goose Up
ALTER TABLE authkit_users ADD COLUMN email_verified_at integer NOT NULL DEFAULT -62135596800000000;
ALTER TABLE authkit_users ADD COLUMN locked_until integer NOT NULL DEFAULT -62135596800000000;
ALTER TABLE authkit_sessions ADD COLUMN auth_time integer NOT NULL DEFAULT -62135596800000000;
ALTER TABLE authkit_sessions ADD COLUMN methods text NOT NULL DEFAULT '';
