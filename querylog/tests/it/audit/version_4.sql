-- A store as version 4 of the tables had it: a request that panicked, one that is open, a plain record, and a gap.
BEGIN TRANSACTION;
CREATE TABLE committed (
        seq INTEGER NOT NULL,
        id TEXT NOT NULL,
        timestamp INTEGER NOT NULL,
        PRIMARY KEY (seq, id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "committed" VALUES(1,'01a21f49-ccda-75db-9c3c-2199a7ef14a7',1743465600000001);
INSERT INTO "committed" VALUES(2,'01a21f49-ccda-75db-9c3c-219a83af7249',1743465601000000);
CREATE TABLE entry (
        key BLOB NOT NULL,
        timestamp INTEGER NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (key, timestamp, id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "entry" VALUES(X'30108834EA3B9EC72BBFEFCB37BCBF83',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'30108834EA3B9EC72BBFEFCB37BCBF83',1743465601000000,'01a21f49-ccda-75db-9c3c-219a83af7249');
INSERT INTO "entry" VALUES(X'88141C642182EC6DC25F61A3398CDAF6',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'8D158B21AA4BE5A4F6570A6697A48CF9',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'8D158B21AA4BE5A4F6570A6697A48CF9',1743465601000000,'01a21f49-ccda-75db-9c3c-219a83af7249');
INSERT INTO "entry" VALUES(X'97D266BF08EDE3755A02C13CBBB9C1CE',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'994F928D92BD8D5305447F7C4541E445',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'9B0A8B864A2F6A713A23076831133BB8',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'9B0A8B864A2F6A713A23076831133BB8',1743465601000000,'01a21f49-ccda-75db-9c3c-219a83af7249');
INSERT INTO "entry" VALUES(X'C09635978F086C90189B780146E17E0E',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'C18F0264E2302353391399677E885797',1743465600000001,'01a21f49-ccda-75db-9c3c-2199a7ef14a7');
INSERT INTO "entry" VALUES(X'C18F0264E2302353391399677E885797',1743465601000000,'01a21f49-ccda-75db-9c3c-219a83af7249');
CREATE TABLE export_job (
        id TEXT NOT NULL PRIMARY KEY,
        owner TEXT NOT NULL,
        token TEXT,
        scope TEXT NOT NULL,
        state TEXT NOT NULL,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        due INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
CREATE TABLE gap (
        from_time INTEGER NOT NULL,
        to_time INTEGER NOT NULL,
        count INTEGER,
        why TEXT NOT NULL
    ) STRICT;
INSERT INTO "gap" VALUES(1743465600000000,1743465602000000,7,'overload: the queue was full');
CREATE TABLE record (
        id TEXT NOT NULL PRIMARY KEY,
        timestamp INTEGER NOT NULL,
        exec_env_id TEXT,
        user_id TEXT,
        user_email TEXT,
        udf_id TEXT,
        udf_name TEXT,
        execution_engine TEXT,
        execution_time REAL,
        cache INTEGER,
        shared_token TEXT,
        client_ip TEXT,
        object TEXT,
        object_members INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        stdout TEXT,
        stderr TEXT,
        udf_data TEXT
    , details TEXT, keys INTEGER NOT NULL DEFAULT 0, service TEXT, outcome TEXT, status INTEGER, duration INTEGER) STRICT;
INSERT INTO "record" VALUES('01a21f49-ccda-75db-9c3c-2199a7ef14a7',1743465600000001,'env1',NULL,'ada@example.com',NULL,'posts',NULL,NULL,NULL,NULL,'127.0.0.1',NULL,0,1,'out',NULL,NULL,'{"trace":{"trace_id":"2631a192ae352398c8014cc0009bf07c","span_id":"49edc60b5bb87e92","parent_id":null,"flags":"03"},"tags":{"project":"blog","env":"prod"},"request":{"method":"GET","path":"/posts/7","route":"/posts/{id}","http_version":"1.1","headers":{"user-agent":"curl/8 \"x\""}},"response":{"code":503,"outcome":"panicked"},"stats":{"query_time":1.234,"query_bytes_in":0,"query_bytes_out":0,"rows":3},"name":"posts","database":["shop"],"region_group":"us-std","host":"host","shape":"f()"}',-2927570687709887375,'shop','panicked',503,1234);
INSERT INTO "record" VALUES('01a21f49-ccda-75db-9c3c-219a83af7249',1743465601000000,'env1',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,'{"trace":{"trace_id":"2631a192ae352398c8014cc0009bf07c","span_id":"49edc60b5bb87e92","parent_id":null,"flags":"03"},"tags":{"project":"blog","env":"prod"},"request":{"method":"GET","path":"nightly/rollup","route":null,"http_version":null,"headers":{}},"response":{"code":null,"outcome":null},"stats":{"query_time":null,"query_bytes_in":0,"query_bytes_out":0},"region_group":"us-std"}',7598324461436710889,NULL,NULL,NULL,NULL);
INSERT INTO "record" VALUES('01a21f49-ccdc-76af-9536-4dc569b74e1b',1743465602000000,'env1',NULL,NULL,NULL,NULL,NULL,0.5,NULL,NULL,NULL,NULL,0,1,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
CREATE TABLE secret (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), bytes BLOB NOT NULL) STRICT;
INSERT INTO "secret" VALUES(1,X'B66EA6918769908DF8F3E058D780BEFA5540F54DCE975E46DA3165630CFC4321');
CREATE TABLE sequence (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), last INTEGER NOT NULL) STRICT;
INSERT INTO "sequence" VALUES(1,2);
CREATE INDEX record_of_user ON record (user_email, timestamp, id, udf_name, udf_id)
        WHERE user_email IS NOT NULL;
CREATE INDEX record_of_env ON record (exec_env_id, timestamp, id, udf_name, udf_id)
        WHERE exec_env_id IS NOT NULL;
CREATE INDEX record_of_udf_id ON record (exec_env_id, udf_id, timestamp, id) WHERE udf_id IS NOT NULL;
CREATE INDEX record_of_udf_name ON record (exec_env_id, udf_name, timestamp, id) WHERE udf_name IS NOT NULL;
CREATE INDEX record_of_shared_token ON record (exec_env_id, shared_token, timestamp, id)
        WHERE shared_token IS NOT NULL;
CREATE INDEX record_of_object ON record (object) WHERE object IS NOT NULL;
CREATE UNIQUE INDEX export_job_of_token ON export_job (owner, token) WHERE token IS NOT NULL;
CREATE INDEX export_job_by_time ON export_job (created, id);
CREATE INDEX export_job_due ON export_job (due);
CREATE INDEX record_open ON record (timestamp) WHERE ended = 0;
COMMIT;
PRAGMA user_version = 4;
