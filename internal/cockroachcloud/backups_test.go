package cockroachcloud

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestTheNextMaintenanceIsTheFirstWindowThatHasNotEnded(t *testing.T) {
	const day = 24 * time.Hour
	at := func(s string) time.Time {
		parsed, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	// 2026-11-16 is a Monday.
	for _, row := range []struct {
		sentence       string
		offset, length time.Duration
		now, want      string
	}{
		{"it opens later this week", 2*day + 3*time.Hour, 6 * time.Hour, "2026-11-16 00:00:00", "2026-11-18 03:00:00"},
		{"it opened this week already", 2*day + 3*time.Hour, 6 * time.Hour, "2026-11-19 00:00:00", "2026-11-25 03:00:00"},
		{"it is open now", 2*day + 3*time.Hour, 6 * time.Hour, "2026-11-18 08:59:59", "2026-11-18 03:00:00"},
		{"it has just ended", 2*day + 3*time.Hour, 6 * time.Hour, "2026-11-18 09:00:00", "2026-11-25 03:00:00"},
		{"it opens with the week", 0, 6 * time.Hour, "2026-11-22 23:59:59", "2026-11-23 00:00:00"},
		{"last week's reaches into this one", 6*day + 22*time.Hour, 6 * time.Hour, "2026-11-16 03:00:00", "2026-11-15 22:00:00"},
		{"today is Sunday", 6*day + 12*time.Hour, 6 * time.Hour, "2026-11-22 11:00:00", "2026-11-22 12:00:00"},
		{"the year ends", 3 * day, 6 * time.Hour, "2026-12-31 12:00:00", "2027-01-07 00:00:00"},
	} {
		window := MaintenanceWindow{row.offset, row.length}
		if got, want := window.next(at(row.now)), at(row.want); !got.Equal(want) {
			t.Errorf("%s: on %s the next window opens %s, want %s", row.sentence, row.now, got, want)
		}
		east := at(row.now).In(time.FixedZone("east", 14*3600))
		if got, want := window.next(east), at(row.want); !got.Equal(want) {
			t.Errorf("%s: in another time zone the next window opens %s, want %s", row.sentence, got, want)
		}
	}
}

func TestAClusterWithoutAMaintenanceWindowHasNoNextMaintenance(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"not found":      answering(404, `{"code":5,"message":"no maintenance window"}`),
		"of zero length": answering(200, `{"offset_duration":"0s","window_duration":"0s"}`),
	} {
		got, err := newClient(t, inProcess(answer)).NextMaintenance(t.Context(), clusterID)
		if err != nil || !got.IsZero() {
			t.Errorf("a window that is %s: the next maintenance is %s (error %v), want none", name, got, err)
		}
	}
}

func TestTheNextMaintenanceCountsFromNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // It is Saturday, 2000-01-01.
		client := newClient(t, inProcess(answering(200, `{"offset_duration":"172800s","window_duration":"21600s"}`)))
		got, err := client.NextMaintenance(t.Context(), clusterID)
		if want := time.Date(2000, 1, 5, 0, 0, 0, 0, time.UTC); err != nil || !got.Equal(want) {
			t.Errorf("the next maintenance is %s (error %v), want Wednesday, %s", got, err, want)
		}
	})
}

func TestTheBackupIntervalIsZeroWithoutManagedBackups(t *testing.T) {
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		want   time.Duration
	}{
		"every hour": {answering(200, `{"enabled":true,"retention_days":30,"frequency_minutes":60}`), time.Hour},
		"disabled":   {answering(200, `{"enabled":false,"retention_days":30,"frequency_minutes":60}`), 0},
		"not found":  {answering(404, `{"code":5,"message":"no backups"}`), 0},
	} {
		got, err := newClient(t, inProcess(row.answer)).BackupInterval(t.Context(), clusterID)
		if err != nil || got != row.want {
			t.Errorf("backups that are %s: the interval is %s (error %v), want %s", name, got, err, row.want)
		}
	}
}

func TestWhatCannotBeReadIsNotMistakenForNone(t *testing.T) {
	client := newClient(t, inProcess(answering(403, `{"code":7,"message":"denied"}`)))
	if at, err := client.NextMaintenance(t.Context(), clusterID); !errors.Is(err, cmek.ErrDenied) {
		t.Errorf("the next maintenance is %s (error %v), want ErrDenied", at, err)
	}
	if interval, err := client.BackupInterval(t.Context(), clusterID); !errors.Is(err, cmek.ErrDenied) || interval != 0 {
		t.Errorf("the backup interval is %s (error %v), want ErrDenied", interval, err)
	}
}
