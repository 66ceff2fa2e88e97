-- sensor_fault, those that hours tell: a sensor that stood still or drifted, as the findings say, from hour to hour. Added to
-- `new_fault`. Key: as sensor_fault. Source: faulty_hour, of the channels in channel_hour.
INSERT INTO new_fault BY NAME
SELECT site_id, batch_id, channel, fault, min(hour_at) AS started_at, max(hour_at) + INTERVAL 1 HOUR AS ended_at,
       epoch(max(hour_at) + INTERVAL 1 HOUR - min(hour_at)) / 3600 AS duration_h, NULL::BIGINT AS n_readings
FROM (SELECT *, hour_at - to_hours(row_number() OVER (PARTITION BY site_id, batch_id, channel, fault ORDER BY hour_at)) AS island
      FROM (SELECT DISTINCT site_id, batch_id, channel, fault, hour_at FROM faulty_hour SEMI JOIN channel_hour USING (site_id, batch_id, channel)))
GROUP BY site_id, batch_id, channel, fault, island;
