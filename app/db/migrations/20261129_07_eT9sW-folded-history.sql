-- tickers of signals that have ended, in the form by which tickers are compared
-- depends: 20261129_06_dU4nA-unanswered-posts

-- migrate: apply

-- Alone: it reads every signal, and locks only those that it changes. Dead letters and alarms are found by the ticker of the position.
UPDATE signals SET ticker = translate(ticker, './', '--') WHERE ticker LIKE '%.%';

-- migrate: rollback

SELECT 1;
