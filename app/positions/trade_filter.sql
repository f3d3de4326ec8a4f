-- The condition of `TradeFilter` on a row `p` of positions, with the filter's fields as $1 to $4; NULL leaves a field out. Statements have it
-- at {trade_filter}. Bounds that are never NULL keep any plan on the index of closing times.
(p.status = 'closed'
 AND ($1::text IS NULL OR p.ticker = $1)
 AND p.closed_at >= coalesce($2::timestamptz, '-infinity') AND p.closed_at < coalesce($3::timestamptz, 'infinity')
 AND ($4::text IS NULL OR EXISTS (SELECT FROM signals s WHERE s.id = p.opened_by AND source_of(s.source, s.type) = $4)))
