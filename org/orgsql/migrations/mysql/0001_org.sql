-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_orgs (
	tenant     varbinary(64) NOT NULL,
	id         varbinary(255) NOT NULL,
	name       text CHARACTER SET utf8mb4 NOT NULL,
	version    bigint NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_org_members (
	tenant    varbinary(64) NOT NULL,
	org_id    varbinary(255) NOT NULL,
	user_id   varbinary(255) NOT NULL,
	roles     text CHARACTER SET utf8mb4 NOT NULL,
	is_owner  bigint NOT NULL,
	joined_at bigint NOT NULL,
	PRIMARY KEY (tenant, org_id, user_id),
	KEY authkit_org_members_user (tenant, user_id, org_id),
	KEY authkit_org_members_owner (tenant, org_id, is_owner, user_id)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_org_invitations (
	tenant     varbinary(64) NOT NULL,
	id         varbinary(255) NOT NULL,
	org_id     varbinary(255) NOT NULL,
	email      varbinary(254) NOT NULL,
	roles      text CHARACTER SET utf8mb4 NOT NULL,
	invited_by varbinary(255) NOT NULL,
	hash       binary(32) NOT NULL,
	created_at bigint NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	KEY authkit_org_invitations_org (tenant, org_id, id),
	KEY authkit_org_invitations_expiry (tenant, expires_at)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_org_active (
	tenant     varbinary(64) NOT NULL,
	session_id varbinary(255) NOT NULL,
	org_id     varbinary(255) NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, session_id),
	KEY authkit_org_active_expiry (tenant, expires_at)
) ENGINE = InnoDB;
