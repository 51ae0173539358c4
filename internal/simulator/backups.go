package simulator

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func (w *World) getBackupConfiguration(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	return struct {
		Enabled          bool `json:"enabled"`
		RetentionDays    int  `json:"retention_days"`
		FrequencyMinutes int  `json:"frequency_minutes"`
	}{true, c.backups.RetentionDays, c.backups.FrequencyMinutes}, nil
}

// backupView is the schema BackupSummary.
type backupView struct {
	ID       string    `json:"id"`
	AsOfTime time.Time `json:"as_of_time"`
}

// listBackups shows the backups that the configuration promises, oldest first. They are computed, and they succeed even
// while a key is unusable.
func (w *World) listBackups(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	query := call.URL.Query()
	start, startErr := optionalTime(query.Get("start_time"))
	end, endErr := optionalTime(query.Get("end_time"))
	if startErr != nil || endErr != nil {
		return nil, badRequest("invalid start_time or end_time")
	}
	page, failed := w.pageRequest(call, "backups"+query.Get("start_time")+query.Get("end_time"))
	if failed != nil {
		return nil, failed
	}
	if end.IsZero() || end.After(call.now) {
		end = call.now
	}
	for _, bound := range []time.Time{c.created, ago(call.now, c.backups.RetentionDays)} {
		if bound.After(start) {
			start = bound
		}
	}
	every := time.Duration(c.backups.FrequencyMinutes) * time.Minute
	first, n := start.Truncate(every).Add(every), 0
	if !first.After(end) {
		n = int(end.Sub(first)/every) + 1
	}
	result := struct {
		Backups    []backupView `json:"backups"`
		Pagination *pagination  `json:"pagination"`
	}{Backups: []backupView{}}
	result.Pagination = w.cut(page, n, func(i int) bool {
		at := first.Add(time.Duration(i) * every)
		result.Backups = append(result.Backups, backupView{derivedUUID("backup", c.id, at.Format(time.RFC3339)), at})
		return true
	})
	return result, nil
}

// maintenanceWindow is the schema MaintenanceWindow: durations such as "172800s", the offset from Monday 00:00 UTC.
type maintenanceWindow struct {
	OffsetDuration string `json:"offset_duration"`
	WindowDuration string `json:"window_duration"`
}

func (w *World) getMaintenanceWindow(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	if c.maintenance == nil {
		return nil, notFound("the cluster has no maintenance window")
	}
	return c.maintenance, nil
}

func (w *World) setMaintenanceWindow(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	var window maintenanceWindow
	if failed := call.decode(&window); failed != nil {
		return nil, failed
	}
	const week = 7 * 24 * time.Hour
	offset, offsetErr := time.ParseDuration(window.OffsetDuration)
	length, lengthErr := time.ParseDuration(window.WindowDuration)
	if offsetErr != nil || offset < 0 || offset >= week {
		return nil, badRequest("invalid offset_duration %q: want less than a week, as seconds", window.OffsetDuration)
	}
	if lengthErr != nil || length < 6*time.Hour || length >= week {
		return nil, badRequest("invalid window_duration %q: want 6 hours to less than a week, as seconds", window.WindowDuration)
	}
	c.maintenance = &window
	w.auditCluster(call, "AUDIT_LOG_ACTION_SET_CLUSTER_MAINTENANCE_WINDOW", c)
	return window, nil
}

func (w *World) deleteMaintenanceWindow(call *cloudCall) (any, *cloudError) {
	window, failed := w.getMaintenanceWindow(call)
	if failed != nil {
		return nil, failed
	}
	c, _ := w.pathCluster(call)
	c.maintenance = nil
	w.auditCluster(call, "AUDIT_LOG_ACTION_DELETE_CLUSTER_MAINTENANCE_WINDOW", c)
	return window, nil
}

// blackoutWindow is the schema BlackoutWindow.
type blackoutWindow struct {
	ID        string    `json:"id"`
	ClusterID string    `json:"cluster_id"`
	StartTime time.Time `json:"start_time"`
	EndTime   time.Time `json:"end_time"`
}

func (w *World) listBlackoutWindows(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	page, failed := w.pageRequest(call, "blackouts")
	if failed != nil {
		return nil, failed
	}
	result := struct {
		BlackoutWindows []blackoutWindow `json:"blackout_windows"`
		Pagination      *pagination      `json:"pagination"`
	}{BlackoutWindows: []blackoutWindow{}}
	result.Pagination = w.cut(page, len(c.blackouts), func(i int) bool {
		result.BlackoutWindows = append(result.BlackoutWindows, c.blackouts[i])
		return true
	})
	return result, nil
}

// createBlackoutWindow holds to the documented bounds: at least 7 days ahead, at most 14 days long, not beyond 3 months.
func (w *World) createBlackoutWindow(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	window := blackoutWindow{ClusterID: c.id}
	if failed := call.decode(&window); failed != nil {
		return nil, failed
	}
	switch {
	case c.plan != cmek.PlanAdvanced:
		return nil, badRequest("blackout windows are supported for ADVANCED clusters only")
	case window.StartTime.Before(call.now.AddDate(0, 0, 7)):
		return nil, badRequest("start_time must be at least 7 days ahead")
	case !window.EndTime.After(window.StartTime),
		window.EndTime.After(window.StartTime.AddDate(0, 0, 14)),
		window.EndTime.After(call.now.AddDate(0, 3, 0)):
		return nil, badRequest("end_time must be at most 14 days after start_time and within three months")
	}
	window.ID, window.ClusterID = w.uuid(), c.id
	c.blackouts = append(c.blackouts, window)
	return window, nil
}

func (c *cluster) inBlackout(now time.Time) bool {
	return slices.ContainsFunc(c.blackouts, func(b blackoutWindow) bool { return !now.Before(b.StartTime) && now.Before(b.EndTime) })
}
