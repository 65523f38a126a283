#include <errno.h>

#include "collector/incidents.h"
#include "support/batch.h"
#include "support/shown.h"

TestSuite(correlate, .init = batch_init, .fini = batch_fini);

#define POST(...)                                                                                  \
    batch_post((const struct batch_alert[]){__VA_ARGS__},                                          \
               sizeof((const struct batch_alert[]){__VA_ARGS__}) / sizeof(struct batch_alert))
#define SCAN   .detector = "port_scan", .tactic = "Discovery"
#define GUESS  .detector = "brute_force", .tactic = "Credential Access"
#define BEACON .detector = "beacon", .tactic = "Command and Control"
#define ODD    .detector = "anomaly", .severity = "medium", .tactic = ""

static int64_t incidents(void)
{
    return ask("SELECT count(*) FROM incidents");
}

Test(correlate, one_attacker_is_one_incident_whoever_the_victims_are)
{
    POST({.n = 1, SCAN, .victim = "10.9.0.1"}, {.n = 2, SCAN, .victim = "10.9.0.2", .at_s = 60});
    POST({.n = 3, SCAN, .victim = "10.9.0.3", .at_s = 120});
    cr_assert_eq(incidents(), 1);
    cr_assert_eq(ask("SELECT alert_count FROM incidents"), 3);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents"), "10.9.0.66 scanned 3 hosts");
    cr_assert_str_eq(ask_text("SELECT type FROM incidents"), "recon");
}

Test(correlate, a_lone_alert_gives_its_own_words_to_the_incident)
{
    POST({.n = 1, SCAN});
    cr_assert_str_eq(ask_text("SELECT title FROM incidents"), "somebody did something");
    cr_assert_eq(ask("SELECT severity FROM incidents"), 3);
}

Test(correlate, different_attackers_and_victims_are_different_incidents)
{
    POST({.n = 1, SCAN, .attacker = "10.9.0.7", .victim = "10.9.0.1"},
         {.n = 2, SCAN, .attacker = "10.9.0.8", .victim = "10.9.0.2"});
    cr_assert_eq(incidents(), 2);
}

Test(correlate, event_time_further_away_than_the_window_is_another_incident)
{
    POST({.n = 1, SCAN, .at_s = 40000}, {.n = 2, SCAN, .at_s = 40000 + 1800});
    cr_assert_eq(incidents(), 1);
    POST({.n = 3, SCAN, .at_s = 40000 + 1800 + 1801});
    cr_assert_eq(incidents(), 2);
    POST({.n = 4, SCAN, .at_s = 40000 - 1801});
    cr_assert_eq(incidents(), 3);
    POST({.n = 5, SCAN, .at_s = 40000 - 1700}); /* late, but its time fits: the latest that fits */
    cr_assert_eq(ask("SELECT incident_id FROM alerts WHERE id = 5"), 1);
    cr_assert_eq(ask("SELECT count(*) FROM incidents WHERE id = 1 AND first_seen = "
                     "(SELECT first_seen FROM alerts WHERE id = 5)"),
                 1);
}

Test(correlate, several_stages_raise_the_severity_and_tell_the_story)
{
    POST({.n = 1, SCAN, .severity = "medium"},
         {.n = 2, SCAN, .severity = "medium", .victim = "10.9.0.9", .at_s = 30},
         {.n = 3, GUESS, .severity = "medium", .at_s = 90});
    cr_assert_eq(incidents(), 1);
    cr_assert_eq(ask("SELECT severity FROM incidents"), 3);
    cr_assert_str_eq(ask_text("SELECT type FROM incidents"), "intrusion");
    cr_assert_str_eq(ask_text("SELECT title FROM incidents"),
                     "10.9.0.66 scanned 2 hosts, then guessed passwords on 10.9.0.5");
    POST({.n = 4, BEACON, .severity = "critical", .victim = "203.0.113.7", .at_s = 300});
    cr_assert_eq(ask("SELECT severity FROM incidents"), 4);
    cr_assert_str_eq(ask_text("SELECT type FROM incidents"), "malware");
    cr_assert_str_eq(ask_text("SELECT title FROM incidents"),
                     "10.9.0.66 scanned 2 hosts, then guessed passwords on 10.9.0.5, "
                     "kept calling 203.0.113.7");
}

Test(correlate, one_stage_does_not_raise_the_severity)
{
    POST({.n = 1, SCAN}, {.n = 2, SCAN, .victim = "10.9.0.9"}, {.n = 3, ODD});
    cr_assert_eq(incidents(), 1);
    cr_assert_eq(ask("SELECT severity FROM incidents"), 3);
}

Test(correlate, a_victim_that_starts_to_attack_is_the_same_incident)
{
    POST({.n = 1, GUESS, .attacker = "10.9.0.66", .victim = "10.9.0.5"},
         {.n = 2, SCAN, .attacker = "10.9.0.5", .victim = "10.9.0.20", .at_s = 600});
    cr_assert_eq(incidents(), 1);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents"),
                     "10.9.0.66 guessed passwords on 10.9.0.5, then 10.9.0.5 scanned 10.9.0.20");
}

Test(correlate, many_attackers_on_one_victim_with_one_method_are_one_incident)
{
    POST({.n = 1, GUESS, .attacker = "198.51.100.1"}, {.n = 2, GUESS, .attacker = "198.51.100.2"},
         {.n = 3, GUESS, .attacker = "198.51.100.3"});
    cr_assert_eq(incidents(), 1);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents"),
                     "3 hosts guessed passwords on 10.9.0.5");
    POST({.n = 4, SCAN, .attacker = "198.51.100.9"}); /* another method, another attacker */
    cr_assert_eq(incidents(), 2);
}

Test(correlate, a_server_that_everybody_talks_to_does_not_glue_anomalies)
{
    POST({.n = 1, ODD, .attacker = "10.9.0.11", .victim = "10.9.0.53"},
         {.n = 2, ODD, .attacker = "10.9.0.12", .victim = "10.9.0.53"},
         {.n = 3, ODD, .attacker = "10.9.0.13", .victim = "10.9.0.53"});
    cr_assert_eq(incidents(), 3);
}

/* As the sensor writes them: an anomaly is about its source, whom nobody accuses yet. */
#define ABOUT .roles = {"related", "related"}

Test(correlate, anomalies_of_one_host_are_one_incident)
{
    POST({.n = 1, ODD, ABOUT, .attacker = "10.9.0.11", .victim = "10.9.0.53"},
         {.n = 2, ODD, ABOUT, .attacker = "10.9.0.11", .victim = "192.0.2.1"},
         {.n = 3, ODD, ABOUT, .attacker = "10.9.0.12", .victim = "10.9.0.53"});
    cr_assert_eq(incidents(), 2);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents WHERE id = 1"),
                     "10.9.0.11 behaved unusually towards 2 hosts");
}

Test(correlate, an_attacker_that_is_odd_as_well_stays_one_incident)
{
    POST({.n = 1, SCAN}, {.n = 2, ODD, ABOUT, .at_s = 10}, {.n = 3, GUESS, .at_s = 20});
    cr_assert_eq(incidents(), 1);
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    json_t *en;
    size_t i;
    cr_assert_eq(db_begin_read(temp_db, &tx, NULL), 0);
    json_t *o = shown_incident(tx, 1);
    json_array_foreach(json_object_get(o, "related_entities"), i, en)
        cr_expect_str_neq(json_string_value(json_object_get(en, "role")), "subject");
    json_decref(o);
}

Test(correlate, beacons_of_several_hosts_to_one_far_end_are_one_incident)
{
    POST({.n = 1,
          BEACON,
          .attacker = "10.9.0.21",
          .victim = "203.0.113.7",
          .roles = {"attacker", "related"}},
         {.n = 2,
          BEACON,
          .attacker = "10.9.0.22",
          .victim = "203.0.113.7",
          .roles = {"attacker", "related"}});
    cr_assert_eq(incidents(), 1);
    cr_assert_str_eq(ask_text("SELECT title FROM incidents"), "2 hosts kept calling 203.0.113.7");
}

Test(correlate, a_hub_that_turns_odd_itself_joins_nobody)
{
    for (int i = 0; i < HUB_INCIDENTS; i++) {
        char attacker[32];
        (void)snprintf(attacker, sizeof(attacker), "10.9.0.%d", 11 + i);
        POST({.n = i, ODD, .attacker = attacker, .victim = "10.9.0.53"});
    }
    POST({.n = 90, ODD, .attacker = "10.9.0.53", .victim = "192.0.2.1"});
    cr_assert_eq(incidents(), HUB_INCIDENTS + 1);
}

Test(correlate, a_resolved_incident_stays_closed)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    json_t *patch = json_pack("{s:s}", "status", "resolved");

    POST({.n = 1, SCAN});
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(incident_change(tx, 1, patch, "ann", NULL), 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    json_decref(patch);
    POST({.n = 2, SCAN, .at_s = 10});
    cr_assert_eq(incidents(), 2);
    cr_assert_eq(ask("SELECT alert_count FROM incidents WHERE id = 1"), 1);
}

Test(correlate, what_people_named_and_graded_stays)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    json_t *patch =
        json_pack("{s:s, s:s, s:s}", "title", "Pentest", "severity", "low", "type", "policy");

    POST({.n = 1, SCAN});
    cr_assert_eq(db_begin_write(temp_db, &tx, NULL), 0);
    cr_assert_eq(incident_change(tx, 1, patch, "ann", NULL), 0);
    cr_assert_eq(db_commit(&tx, NULL), 0);
    json_decref(patch);
    POST({.n = 2, GUESS, .severity = "critical", .at_s = 10});
    cr_assert_str_eq(ask_text("SELECT title || severity || type FROM incidents"), "Pentest1policy");
    cr_assert_eq(ask("SELECT alert_count FROM incidents"), 2);
}

Test(correlate, a_full_incident_is_followed_by_another)
{
    json_t *items = json_array();

    batch_reopen(2);
    for (int i = 0; i < 5; i++)
        (void)json_array_append_new(items, batch_item(&(struct batch_alert){.n = i, .at_s = i}));
    struct ingest_result res = batch_post_json(items);
    ingest_result_done(&res);
    cr_assert_eq(incidents(), 3);
    cr_assert_eq(ask("SELECT max(alert_count) FROM incidents"), 2);
}

Test(correlate, a_batch_that_touches_more_incidents_than_are_remembered_finishes_them_all)
{
    json_t *items = json_array();

    for (int i = 0; i < CORRELATE_TOUCHED + 50; i++) {
        char attacker[32], victim[32];
        (void)snprintf(attacker, sizeof(attacker), "10.1.%d.%d", i / 200, i % 200);
        (void)snprintf(victim, sizeof(victim), "10.2.%d.%d", i / 200, i % 200);
        (void)json_array_append_new(
            items, batch_item(&(struct batch_alert){
                       .n = i, .attacker = attacker, .victim = victim, .at_s = 5}));
    }
    struct ingest_result res = batch_post_json(items);
    ingest_result_done(&res);
    cr_assert_eq(incidents(), CORRELATE_TOUCHED + 50);
    cr_assert_eq(ask("SELECT count(*) FROM incidents WHERE type <> 'recon'"), 0);
    cr_assert_eq(ask("SELECT count(*) FROM outbox WHERE topic = 'incidents'"),
                 CORRELATE_TOUCHED + 50);
}
