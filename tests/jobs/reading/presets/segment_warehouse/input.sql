SELECT * FROM VALUES
    ('ajs-1', 'a-1', NULL, 'product_viewed', 'Product Viewed', TIMESTAMP '2024-01-02 09:15:00.25', TIMESTAMP '2024-01-02 09:15:01', 'P7', 12.5D, NULL),
    ('ajs-2', 'a-1', 'u1', 'order_completed', 'Order Completed', TIMESTAMP '2024-01-02 09:16:00', TIMESTAMP '2024-01-02 09:16:01', NULL, NULL, '[{"product_id": "P7", "price": 12.5}, {"sku": "S8", "price": 25}]'),
    ('ajs-3', 'a-2', NULL, 'product_list_viewed', 'Product List Viewed', TIMESTAMP '2024-01-02 09:17:00', TIMESTAMP '2024-01-02 09:17:01', NULL, NULL, '[{"product_id": "P7"}, {"product_id": "P9"}]'),
    ('ajs-4', 'a-2', NULL, NULL, NULL, NULL, TIMESTAMP '2024-01-02 09:18:00', NULL, NULL, NULL),
    ('srv-9', NULL, NULL, 'signed_up', 'Signed Up', TIMESTAMP '2024-01-02 09:19:00', TIMESTAMP '2024-01-02 09:19:01', NULL, NULL, NULL)
AS tracks(id, anonymous_id, user_id, event, event_text, `timestamp`, received_at, product_id, price, products)
