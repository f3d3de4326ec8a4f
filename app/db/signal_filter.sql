-- The condition of `SignalFilter` on a row `s` of signals, with the filter's arguments as $1 to $11. Statements have it at {signal_filter}.
((cardinality($1::text[]) = 0 OR s.status = ANY ($1))
 AND ($2::text IS NULL OR s.ticker = $2)
 AND ($3::text IS NULL OR s.source = $3 OR ($3 = 'default' AND source_of(s.source, s.type) = 'default'))
 AND ($4::text IS NULL OR starts_with(s.ticker, $4) OR starts_with(s.sender_signal_id, $5::text)
      OR starts_with(s.id::text, $6::text))
 AND ($7::timestamptz IS NULL OR s.received_at >= $7)
 AND ($8::timestamptz IS NULL OR s.received_at < $8)
 AND ($9::text IS NULL OR (s.type = 'buy') = ($9 = 'buy'))
 AND (($10::text IS NULL AND $11::text IS NULL) OR EXISTS (
     SELECT FROM (
         SELECT outcome, destination FROM attempts WHERE signal_id = s.id ORDER BY id DESC LIMIT 1) AS last
     WHERE ($10::text IS NULL OR last.outcome = $10)
       AND ($11::text IS NULL OR last.destination = $11 OR starts_with(last.destination, $11 || ' ')
            OR EXISTS (SELECT FROM orders o WHERE o.signal_id = s.id AND o.destination = $11)))
     OR ($10::text IS NULL AND EXISTS (SELECT FROM orders o WHERE o.signal_id = s.id AND o.destination = $11))))
